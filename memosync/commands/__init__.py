"""The verbs: one file each, each a short walk of a memo through the rooms."""

from __future__ import annotations
