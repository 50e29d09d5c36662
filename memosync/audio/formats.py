"""Which formats are taken, and how what comes is known by its first bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .chains import Peeking

FORMATS = (  # of FFmpeg, that have sound in them and name no other file
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,dsf,dss,dts,eac3,flac,flv,g722,g726,g723_1,gsm,iff,ircam,"
    "latm,loas,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,mxf,nistsphere,nut,ogg,oma,qcp,rm,shn,sox,tta,tak,voc,w64,wav,"
    "webm,wsd,wv,xwma"
)
_KNOWN = {  # how files begin that are audio, or could be taken for it
    b"OggS": "Ogg",
    b"fLaC": "FLAC",
    b"ID3": "MP3",
    b"caff": "CAF",
    b".snd": "AU",
    b"#!AMR": "AMR",
    b"RIFF": "WAV or AVI",
    b"RF64": "WAV",
    b"FORM": "AIFF",
    b"MThd": "MIDI, which is notes and no sound",
    b"\x1a\x45\xdf\xa3": "WebM or Matroska",
    b"\x1f\x43\xb6\x75": "a part of a WebM without its beginning",
    b"\x30\x26\xb2\x75": "WMA",
}


def what_it_is(begin: bytes) -> str:
    """Say what it is that begins like audio and cannot be read."""
    if not begin:
        return "there is no sound in it, nor anything else"
    if begin[4:8] in (b"ftyp", b"mdat", b"wide", b"moov"):
        return "it is MP4 or QuickTime whose index (moov) is missing: the recorder did not end it, or it was cut off"
    for magic, name in _KNOWN.items():
        if begin.startswith(magic):
            return f"it begins like {name}, but nothing in it can be read: it is damaged, or cut off"
    return "not audio, as far as FFmpeg knows"


def has_index_behind(pipe: Peeking) -> bool:
    """Tell whether what comes has its index behind its sound.

    So have MP4 and QuickTime as recorders write them (ISO/IEC 14496-12, 8.1.1), and CAF unless its sound is plain
    samples (Apple's Core Audio Format Specification).
    """
    is_caf = pipe.peek(4) == b"caff"
    at, index = (8, (b"pakt",)) if is_caf else (0, (b"moov", b"moof"))
    while at < 1 << 20 and len(head := pipe.peek(at + 16)[at:]) == 16:
        if is_caf:
            name, size = head[:4], 12 + int.from_bytes(head[4:12], "big")
            if name == b"desc" and pipe.peek(at + 24)[at + 20 :] in (b"lpcm", b"ulaw", b"alaw"):
                return False
        else:
            size, name = int.from_bytes(head[:4], "big"), head[4:8]
            size = int.from_bytes(head[8:], "big") if size == 1 else size
            if at == 0 and name not in (b"ftyp", b"wide", b"free", b"skip", b"pnot", b"mdat"):
                return False
        if name in (*index, b"mdat", b"data"):
            return name not in index
        at += max(8, size)
    return False
