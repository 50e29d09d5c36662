"""A finding: one line of `check`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found out of one thing."""

    severity: Literal["ok", "note", "defect"]
    subject: str  # a memo's id, or a part of the library or of the machine
    text: str
    mend: Callable[[], str] | None = None  # does it, and says what was done

    @property
    def is_defect(self) -> bool:
        return self.severity == "defect"
