"""BitTorrent: torrents as data, and the sessions of libtorrent that fetch and serve them."""

from __future__ import annotations
