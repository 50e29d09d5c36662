"""The library: all that may be done to a memo on disk."""

from __future__ import annotations
