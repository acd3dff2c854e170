"""Pages of runs: what ``Client.list_workflows`` may be asked for, and what it gives."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from grctl.models.run import RunInfo, RunStatus
from grctl.models.text import is_text

__all__ = [
    "RunPage",
    "check_limit",
    "check_since",
    "check_text",
    "cursor_of",
    "read_cursor",
    "read_statuses",
]

LARGEST_PAGE = 1_000


class RunPage(list[RunInfo]):
    """Runs, newest first; ``next_cursor`` is where the next page begins, None at the end."""

    def __init__(self, runs: Iterable[RunInfo] = (), next_cursor: str | None = None) -> None:
        super().__init__(runs)
        self.next_cursor = next_cursor


def read_statuses(status: str | Iterable[str] | None) -> list[RunStatus] | None:
    """One status or several, by name. ValueError says which there are."""
    if status is None:
        return None
    names = (
        list(status) if isinstance(status, Iterable) and not isinstance(status, str) else [status]
    )
    try:
        return [RunStatus(name) for name in names]
    except ValueError as error:
        known = ", ".join(each.value for each in RunStatus)
        raise ValueError(f"{error}: the statuses are {known}") from None


def check_limit(limit: int) -> None:
    """ValueError where a page cannot be as large."""
    if not isinstance(limit, int) or not 1 <= limit <= LARGEST_PAGE:
        raise ValueError(f"limit must be a whole number from 1 to {LARGEST_PAGE}, not {limit!r}")


def check_since(since: datetime | None) -> None:
    """ValueError for what is no time, or does not say which it is."""
    if since is not None and (not isinstance(since, datetime) or since.tzinfo is None):
        raise ValueError(
            f"since must have a time zone and be a datetime, as datetime.now(UTC), not {since!r}"
        )


def check_text(what: str, value: str | None) -> None:
    """ValueError for what no run can have."""
    if value is not None and not is_text(value):
        raise ValueError(
            f"{what} must be a string without NUL and lone surrogates, not {value!r:.80}"
        )


def cursor_of(run_id: UUID) -> str:
    """Where the page after this run begins."""
    return run_id.hex


def read_cursor(cursor: str | None) -> UUID | None:
    """The reverse of ``cursor_of``. ValueError for what is none."""
    if cursor is None:
        return None
    try:
        return UUID(hex=cursor)
    except (ValueError, AttributeError, TypeError):
        raise ValueError(
            f"cursor must be the next_cursor of a page that was read before, not {cursor!r:.80}"
        ) from None
