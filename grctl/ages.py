"""Ages as people write them: ``30d``, ``12h``; and which status of a run is kept how long.

Nothing of grctl is imported here, as the settings are checked with it.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

__all__ = ["ENDED_STATUSES", "OTHER_ROWS", "parse_age", "parse_retention"]

ENDED_STATUSES: Final = (
    "completed", "failed", "cancelled", "terminated", "timed_out", "continued",
)  # fmt: skip
"""The statuses of runs that are over (``RunStatus``, which a test compares)."""

OTHER_ROWS: Final = ("workers", "audit")
"""What else may be deleted by its age: workers that have ended, and notes of what people did."""

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_age(text: str) -> timedelta:
    """``90s``, ``15m``, ``12h``, ``30d``, ``8w``. ValueError for anything else."""
    found = re.fullmatch(r"\s*(\d{1,9})([smhdw])\s*", text)
    if found is None:
        raise ValueError(f"an age is a number with s, m, h, d or w, such as 30d, not {text!r:.40}")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def parse_retention(text: str) -> dict[str, timedelta]:
    """``completed=30d,failed=90d``: how long an ended run of each status is kept.

    ``all=90d`` is for the statuses that are not named; without it those are kept for ever. So are
    ``OTHER_ROWS``, whatever is said of all. ValueError says what is wrong.
    """
    ages: dict[str, timedelta] = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        status, equals, age = (each.strip() for each in part.partition("="))
        if not equals:
            raise ValueError(f"expected STATUS=AGE, such as completed=30d, not {part!r:.60}")
        names = (*ENDED_STATUSES, "all", *OTHER_ROWS)
        if status not in names:
            raise ValueError(
                f"only ended runs, workers and notes of acts are deleted: {status!r:.40} is none "
                f"of {', '.join(names)}"
            )
        if status in ages:
            raise ValueError(f"{status} is there twice")
        ages[status] = parse_age(age)
    rest = ages.pop("all", None)
    if rest is not None:
        ages = dict.fromkeys(ENDED_STATUSES, rest) | ages
    return ages
