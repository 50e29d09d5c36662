// WebRTC needs a library that cannot be built everywhere; without it WebTorrent speaks TCP and uTP, as here it must.
export const RTCPeerConnection = undefined
export const RTCSessionDescription = undefined
export const RTCIceCandidate = undefined
