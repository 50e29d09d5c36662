"""Fetch a magnet into a directory with libtorrent and nothing else, as fast as it can be; --sync waits for the disk."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import libtorrent as lt

settings: lt.settings_pack = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_outgoing_utp": False,
    "smooth_connects": False,
    "connection_speed": 200,
    "listen_interfaces": "127.0.0.1:0",
    "alert_mask": int(lt.alert_category.status),
}
session = lt.session(settings)
params = lt.parse_magnet_uri(sys.argv[1])
params.save_path = sys.argv[2]
params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
handle = session.add_torrent(params)
for awaited in (lt.torrent_finished_alert, lt.cache_flushed_alert):
    while not any(isinstance(alert, awaited) for alert in session.pop_alerts()):
        session.wait_for_alert(1000)
    handle.flush_cache()
if "--sync" in sys.argv:
    for path in Path(sys.argv[2]).iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
os._exit(0)
