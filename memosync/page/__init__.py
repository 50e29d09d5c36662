"""The page for somebody who has only a browser."""

from __future__ import annotations
