"""Seed with libtorrent and nothing else what a library shares, and make a file when ready: LIBRARY TRACKER FILE.

Standard input has a line `infohash name` for each memo.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import libtorrent as lt

settings: lt.settings_pack = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "active_seeds": -1,
    "active_limit": -1,
    "active_tracker_limit": -1,
    "listen_interfaces": "127.0.0.1:0",
    "alert_mask": 0,
}
session = lt.session(settings)
wanted = [line.split() for line in sys.stdin]
for infohash, file in wanted:
    params = lt.load_torrent_file(f"{sys.argv[1]}/.memosync/torrents/{infohash}.torrent")
    params.save_path, params.renamed_files, params.trackers = sys.argv[1], {0: file}, [sys.argv[2]]
    flags = lt.torrent_flags
    params.flags = (params.flags | flags.seed_mode | flags.upload_mode) & ~(flags.auto_managed | flags.paused)
    session.async_add_torrent(params)
while sum(status.is_seeding for status in session.get_torrent_status(lambda _: True)) < len(wanted):
    session.wait_for_alert(10)
Path(sys.argv[3]).touch()
signal.pause()
