"""Times, durations and numbers as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["ago", "clock", "count", "duration", "milliseconds", "rate"]


def duration(time: timedelta | float | None) -> str:
    """A duration, of seconds where it is a number: ``12 ms``, ``1.25 s``, ``3 min 20 s``."""
    if time is None:
        return "–"
    seconds = time / timedelta(seconds=1) if isinstance(time, timedelta) else time
    if seconds < 0:
        return f"−{duration(-seconds)}"
    if 0 < seconds < 0.0005:
        return "< 1 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def milliseconds(number: int | None) -> str:
    """A duration in milliseconds, as histories have it."""
    return duration(None if number is None else number / 1000)


def ago(moment: datetime | None, now: datetime) -> str:
    """How long before ``now``, or how long after it."""
    if moment is None:
        return "–"
    seconds = (now - moment) / timedelta(seconds=1)
    if -1 < seconds < 1:
        return "now"
    return f"{_coarse(seconds)} ago" if seconds > 0 else f"in {_coarse(-seconds)}"


def clock(moment: datetime | None) -> str:
    """The time of day with its date, in UTC."""
    return "–" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def count(number: float, limit: int | None = None) -> str:
    """A count with thin spaces between thousands; ``n+`` where counting stopped at ``limit``."""
    text = f"{number:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{text}+" if limit is not None and number >= limit else text


def rate(per_second: float) -> tuple[str, str]:
    """A rate as a number of three digits or so, and the unit in which it has them."""
    for factor, unit in ((1, "s"), (60, "min"), (3600, "h")):
        number = per_second * factor
        if number >= 1 or unit == "h":
            break
    return (count(number) if number >= 100 else f"{number:.3g}"), unit


def _coarse(seconds: float) -> str:
    for unit, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit:
            return f"{seconds // unit:.0f} {name}"
    return f"{seconds:.0f} s"
