"""Audio: encoded, looked into with suspicion, measured, converted, recorded and played."""

from __future__ import annotations
