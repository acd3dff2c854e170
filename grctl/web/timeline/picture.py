"""What is drawn of a run: bands, rows, bars and marks, their places in percent of the width.

A picture is bounded however long the history is: the parts come in pages, and in each part calls
of one name that follow one another are folded into one row. A folded part can be opened: a picture
of that part alone, whose rows come in pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from grctl.models.history import HistoryEvent
from grctl.web.timeline.axis import Axis, Cut, Tick, axis_of
from grctl.web.timeline.story import Line, Look, Mark, Part, Span
from grctl.web.words import duration

__all__ = ["Band", "Bar", "Dot", "Page", "Picture", "Row", "draw"]

PARTS = 60
"""Parts of a picture, at most."""
ROWS = 24
"""Rows of a part that is not opened; more are folded."""
OPENED_ROWS = 200
"""Rows of a page of one that is."""
FOLD = 3
"""Calls of one name in a row are folded from so many on, where folding is needed."""
FOLDED_BARS = 150
EVENTS = 40
"""Events of a row whose details are at hand; the history has them all."""
THIN = 0.25


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that lasted. ``is_open``: it goes on."""

    x: float
    width: float
    look: Look
    words: str
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Dot:
    """Something that happened."""

    x: float
    look: Look
    words: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the picture. ``folded`` is how many calls it stands for, where it is several."""

    id: str
    kind: str
    name: str
    note: str
    look: Look
    bars: Sequence[Bar]
    dots: Sequence[Dot] = ()
    events: Sequence[HistoryEvent] = ()
    hint: str = ""
    link: str | None = None
    folded: int = 0
    attempts: int = 1


@dataclass(frozen=True, slots=True)
class Band:
    """A part: an attempt of a step, or what was between two."""

    number: int
    name: str
    is_step: bool
    note: str
    bar: Bar
    dots: Sequence[Dot]
    rows: Sequence[Row]
    events: Sequence[HistoryEvent] = ()
    attempt: int = 1
    is_folded: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """Which of how many; counted from 1."""

    number: int
    count: int

    @property
    def is_all(self) -> bool:
        """Whether there is no other page."""
        return self.count == 1


@dataclass(frozen=True, slots=True)
class Picture:
    """The whole of it. ``opened`` is the number of the part that is shown alone, if one is."""

    begin: datetime
    end: datetime
    bands: Sequence[Band]
    ticks: Sequence[Tick]
    cuts: Sequence[Cut]
    page: Page
    opened: int | None = None
    now: float | None = None
    """Where the present is, if the run goes on and it is in the picture."""
    zero: datetime | None = field(default=None)


def draw(
    parts: Sequence[Part],
    now: datetime,
    *,
    is_open: bool,
    opened: int | None = None,
    page: int | None = None,
) -> Picture | None:
    """The picture of a story; ``None`` of an empty one.

    ``page`` is which page of the parts (default: the last of an open run, else the first); with
    ``opened``, which of the rows of that part.
    """
    if not parts:
        return None
    zero = parts[0].span.start
    if opened is not None and 1 <= opened <= len(parts):
        return _opened(parts[opened - 1], now, page or 1, zero)
    pages = Page(*_page(page, len(parts), PARTS, default=-1 if is_open else 1))
    shown = parts[(pages.number - 1) * PARTS : pages.number * PARTS]
    is_last = pages.number == pages.count
    begin = shown[0].span.start
    end = now if is_open and is_last else _end_of(shown, now)
    axis, ticks, cuts = axis_of(shown, begin, end, zero, now)
    bands = [_band(part, axis, now, _folded(part, axis, now)) for part in shown]
    present = axis.x(now) if is_open and is_last else None
    return Picture(begin, end, bands, ticks, cuts, pages, None, present, zero)


def _opened(part: Part, now: datetime, page: int, zero: datetime) -> Picture:
    pages = Page(*_page(page, len(part.lines), OPENED_ROWS, default=1))
    lines = part.lines[(pages.number - 1) * OPENED_ROWS : pages.number * OPENED_ROWS]
    times = [time for line in lines for time in line.times] or [part.span.start]
    is_all = pages.is_all
    begin = part.span.start if is_all else min(times)
    end = max([*times, *([part.span.end or now] if is_all else [])])
    if part.span.end is None and any(span.end is None for line in lines for span in line.spans):
        end = now
    axis, ticks, cuts = axis_of([part], begin, end, zero, now)
    rows = [_row(part, line, axis, now) for line in lines]
    band = _band(part, axis, now, rows)
    present = axis.x(now) if part.span.end is None and end == now else None
    return Picture(begin, end, [band], ticks, cuts, pages, part.number, present, zero)


def _page(wanted: int | None, count: int, size: int, default: int) -> tuple[int, int]:
    pages = max(1, -(-count // size))
    number = wanted if wanted is not None else default
    return (pages if number < 0 else min(max(1, number), pages)), pages


def _end_of(parts: Sequence[Part], now: datetime) -> datetime:
    times = [time for part in parts for line in part.lines for time in line.times]
    return max([*times, *(part.span.end or now for part in parts)])


def _band(part: Part, axis: Axis, now: datetime, rows: Sequence[Row]) -> Band:
    until = part.span.end or now
    lasted = duration(until - part.span.start)
    words = f"{lasted} · {part.span.words}" if part.span.words else lasted
    return Band(
        number=part.number,
        name=part.name,
        is_step=part.is_step,
        note=lasted,
        bar=_bar(part.span, axis, until, words),
        dots=[_dot(mark, axis) for mark in part.marks],
        rows=rows,
        events=_few(part.events),
        attempt=part.attempt,
        is_folded=any(row.folded for row in rows),
    )


def _row(part: Part, line: Line, axis: Axis, now: datetime) -> Row:
    # What a step left open is over with it; a child may outlive it.
    until = now if part.span.end is None or line.kind == "child" else part.span.end
    bars = [_bar(span, axis, span.end or until, span.words) for span in line.spans]
    return Row(
        id=f"{part.number}-{line.key}",
        kind=line.kind,
        name=line.name,
        note=_note(line, until),
        look=line.look,
        bars=bars,
        dots=[_dot(mark, axis) for mark in line.marks],
        events=_few(line.events),
        hint=line.hint,
        link=line.link,
        attempts=sum(span.look not in (Look.BACKOFF, Look.SLEEP) for span in line.spans),
    )


def _note(line: Line, until: datetime) -> str:
    """How long it took in all."""
    if not line.spans:
        return str(len(line.marks)) if len(line.marks) > 1 else ""
    return duration((line.spans[-1].end or until) - line.spans[0].start)


def _folded(part: Part, axis: Axis, now: datetime) -> list[Row]:
    """The rows of a part: as many as are legible, and the rest in rows for several calls."""
    if len(part.lines) <= ROWS:
        return [_row(part, line, axis, now) for line in part.lines]
    rows = list(_by_name(part, axis, now))
    if len(rows) <= ROWS:
        return rows
    rest = part.lines[sum(row.folded or 1 for row in rows[: ROWS - 1]) :]
    return [*rows[: ROWS - 1], _fold(part, rest, axis, now, f"{len(rest)} more")]


def _by_name(part: Part, axis: Axis, now: datetime) -> Iterator[Row]:
    for (_, name), same in groupby(part.lines, key=lambda line: (line.kind, line.name)):
        lines = list(same)
        if len(lines) >= FOLD:
            yield _fold(part, lines, axis, now, name)
        else:
            yield from (_row(part, line, axis, now) for line in lines)


def _fold(part: Part, lines: Sequence[Line], axis: Axis, now: datetime, name: str) -> Row:
    """One row for several calls: when any of them ran, and where one failed."""
    rows = [_row(part, line, axis, now) for line in lines]
    failed = sum(line.look is Look.FAILED for line in lines)
    going = sum(line.look is Look.RUNNING for line in lines)
    notes = [f"× {len(lines)}"]
    notes += [
        f"{number} {what}" for number, what in ((failed, "failed"), (going, "running")) if number
    ]
    look = Look.FAILED if failed else Look.RUNNING if going else Look.DONE
    return Row(
        id=f"{part.number}-fold-{lines[0].key}",
        kind=lines[0].kind,
        name=name,
        note=" · ".join(notes),
        look=look,
        bars=_joined(bar for row in rows for bar in row.bars),
        folded=len(lines),
    )


def _joined(bars: Iterable[Bar]) -> list[Bar]:
    """Bars of one look that touch each other as one; those of failures lie on top."""
    joined: list[Bar] = []
    order = [
        Look.BACKOFF,
        Look.SLEEP,
        Look.CHILD,
        Look.DONE,
        Look.RUNNING,
        Look.CANCELLED,
        Look.FAILED,
    ]
    by_look = sorted(
        bars, key=lambda bar: (order.index(bar.look) if bar.look in order else 0, bar.x)
    )
    for look, same in groupby(by_look, key=lambda bar: bar.look):
        apart: list[Bar] = []
        for bar in same:
            before = apart[-1] if apart else None
            if before is not None and bar.x <= before.x + before.width + THIN:
                width = max(before.width, bar.x + bar.width - before.x)
                apart[-1] = Bar(before.x, width, look, "", before.is_open or bar.is_open)
            else:
                apart.append(Bar(bar.x, bar.width, look, "", bar.is_open))
        joined += apart[:FOLDED_BARS]
    return joined


def _bar(span: Span, axis: Axis, until: datetime, words: str) -> Bar:
    x = axis.x(span.start)
    return Bar(
        round(x, 3), round(max(THIN, axis.x(until) - x), 3), span.look, words, span.end is None
    )


def _dot(mark: Mark, axis: Axis) -> Dot:
    return Dot(round(axis.x(mark.at), 3), mark.look, mark.words)


def _few(events: Sequence[HistoryEvent]) -> Sequence[HistoryEvent]:
    """The first and the last of many."""
    half = EVENTS // 2
    return events if len(events) <= EVENTS else [*events[:half], *events[-half:]]
