"""Settings of a libtorrent session of somebody else's, which meets nobody but on this machine."""

from __future__ import annotations

import libtorrent as lt

ISOLATED: lt.settings_pack = {
    "listen_interfaces": "127.0.0.1:0",
    "outgoing_interfaces": "127.0.0.1",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True,
}
