"""What an examination of the database and its workers has found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

__all__ = ["Finding", "Severity"]


class Severity(IntEnum):
    """How bad it is; also the exit code of `grctl doctor` for the worst that was found."""

    FINE = 0
    WARNING = 1
    """It works, and will not for ever, or not under load."""
    ERROR = 2
    """Something does not work, or a guarantee does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding: ``name`` for programs, what was found, and what to do about it."""

    name: str
    severity: Severity
    text: str
    advice: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """For JSON output."""
        return {
            "name": self.name,
            "severity": self.severity.name.lower(),
            "text": self.text,
            "advice": self.advice,
            "details": dict(self.details),
        }
