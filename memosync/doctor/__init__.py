"""The doctor: what `check` looks at, and how it mends what needs no guess; nothing is deleted."""

from __future__ import annotations
