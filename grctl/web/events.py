"""A history event in a few words, and in its fields."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

from grctl.models.history import HistoryEvent
from grctl.web.words import milliseconds

__all__ = ["fields_of", "gist"]

_NAMES: Final = (
    "task_name",
    "event_name",
    "update_name",
    "step_name",
    "wf_id",
    "timeout_step_name",
)
LONGEST: Final = 160


def gist(event: HistoryEvent) -> str:
    """What it is about: a name, how long it took, what went wrong."""
    msg: Any = event.msg
    words = [next((name for each in _NAMES if (name := getattr(msg, each, None))), "")]
    if (attempt := getattr(msg, "attempt", None)) is not None:
        words.append(f"attempt {attempt} of {msg.max_attempts}")
    if (duration := getattr(msg, "duration_ms", None)) is not None:
        words.append(milliseconds(duration))
    said = [getattr(msg, name, None) for name in ("status", "error", "reason", "value")]
    words += [str(each) for each in said if each is not None]
    text = " · ".join(word for word in words if word)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def fields_of(event: HistoryEvent) -> list[tuple[str, Any]]:
    """What its message says, by name."""
    return [(field.name, getattr(event.msg, field.name)) for field in fields(event.msg)]
