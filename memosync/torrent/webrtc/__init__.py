"""Browsers: peers that are met through WebSocket trackers and reached by WebRTC."""

from __future__ import annotations
