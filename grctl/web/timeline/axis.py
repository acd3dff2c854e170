"""Where a time stands in the picture, in percent of its width.

A run may work for milliseconds and wait for days. To scale, all work would be a hair's breadth; so
the axis is cut where nothing is done for long, and the cuts are shown as such. What is worked is to
one scale throughout.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import log1p

from grctl.web.timeline.story import Look, Part
from grctl.web.words import duration

__all__ = ["Axis", "Cut", "Tick", "axis_of"]

Interval = tuple[datetime, datetime]

WIDTH = 100.0
LONG = 1.0
"""A pause is long from this share on of all that is not a long pause."""
CUT_WIDTH = 8.0
CUTS_WIDTH = 34.0
"""Of one long pause, and of all together, in percent."""
TICKS = 6
TICK_GAP = 11.0
LEAST = timedelta(milliseconds=1)
_NICE_SECONDS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600,
    900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 2_592_000,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tick:
    """A moment that is named on the axis, by how long it is after the run's schedule."""

    x: float
    words: str


@dataclass(frozen=True, slots=True)
class Cut:
    """A long pause that is drawn shorter than it was."""

    x: float
    width: float
    words: str


class Axis:
    """A time's place, by pieces: each is linear in itself."""

    def __init__(self, moments: Sequence[datetime], places: Sequence[float]) -> None:
        self._moments = moments
        self._places = places

    def x(self, moment: datetime) -> float:
        """The place of a moment; those outside are at the ends."""
        at = bisect_right(self._moments, moment)
        if at == 0:
            return self._places[0]
        if at == len(self._moments):
            return self._places[-1]
        begin, end = self._moments[at - 1], self._moments[at]
        left, right = self._places[at - 1], self._places[at]
        return left + (right - left) * ((moment - begin) / (end - begin))


def axis_of(
    parts: Sequence[Part], begin: datetime, end: datetime, zero: datetime, now: datetime
) -> tuple[Axis, list[Tick], list[Cut]]:
    """The axis from ``begin`` to ``end``; its ticks count from ``zero``."""
    end = max(end, begin + LEAST)
    busy = _clipped(_union(_busy(parts, now)), begin, end)
    pauses = _long_pauses(busy, begin, end)
    moments, widths = _pieces(pauses, begin, end)
    places = [0.0]
    for width in widths:
        places.append(places[-1] + width)
    axis = Axis(moments, places)
    cuts = [
        Cut(axis.x(start), axis.x(stop) - axis.x(start), duration(stop - start))
        for start, stop in pauses
    ]
    return axis, list(_ticks(axis, pauses, begin, end, zero)), cuts


def _busy(parts: Iterable[Part], now: datetime) -> Iterable[Interval]:
    """When something was done: in steps, but not while all that goes on in one is a pause."""
    for part in parts:
        if not part.is_step:
            continue
        until = part.span.end or now
        still: list[Interval] = []
        active: list[Interval] = []
        for line in part.lines:
            for span in line.spans:
                interval = (span.start, min(span.end or until, until))
                pauses = span.look in (Look.SLEEP, Look.BACKOFF)
                (still if pauses else active).append(interval)
        yield from active
        yield from _without((part.span.start, until), _union(still))


def _union(intervals: Iterable[Interval]) -> list[Interval]:
    """The same times, as few intervals in order."""
    joined: list[Interval] = []
    for start, stop in sorted(each for each in intervals if each[1] >= each[0]):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(stop, joined[-1][1]))
        else:
            joined.append((start, stop))
    return joined


def _without(whole: Interval, holes: Iterable[Interval]) -> Iterable[Interval]:
    """What is left of an interval; ``holes`` are in order and apart."""
    at, stop = whole
    for start, until in holes:
        if start > at:
            yield at, min(start, stop)
        at = max(at, until)
    if at <= stop:
        yield at, stop


def _clipped(intervals: Iterable[Interval], begin: datetime, end: datetime) -> list[Interval]:
    return [(max(a, begin), min(b, end)) for a, b in intervals if b >= begin and a <= end]


def _long_pauses(busy: Sequence[Interval], begin: datetime, end: datetime) -> list[Interval]:
    """Those pauses that would press the rest together. None if there is no rest."""
    if not busy:
        return []
    pauses = sorted(_without((begin, end), busy), key=lambda pause: pause[1] - pause[0])
    rest = max(LEAST, sum((b - a for a, b in busy), timedelta()))
    for number, (start, stop) in enumerate(pauses):
        if stop - start > LONG * rest and stop - start > LEAST:
            return sorted(pauses[number:])
        rest += stop - start
    return []


def _pieces(
    pauses: Sequence[Interval], begin: datetime, end: datetime
) -> tuple[list[datetime], list[float]]:
    """Where the axis bends, and how wide the pieces between are."""
    moments = sorted({begin, end, *(moment for pause in pauses for moment in pause)})
    long = set(pauses)
    pieces = list(pairwise(moments))
    for_cuts = min(CUTS_WIDTH, CUT_WIDTH * len(pauses))
    # Longer ones are wider, but a day not a thousand times as wide as a minute.
    weights = {(a, b): log1p((b - a) / timedelta(seconds=1)) for a, b in pauses}
    weight = sum(weights.values()) or 1.0
    worked = sum((b - a for a, b in pieces if (a, b) not in long), timedelta())
    if not worked:
        return [begin, end], [WIDTH]
    widths = [
        for_cuts * weights[piece] / weight
        if piece in long
        else (WIDTH - for_cuts) * ((piece[1] - piece[0]) / worked)
        for piece in pieces
    ]
    return moments, widths


def _ticks(
    axis: Axis, pauses: Sequence[Interval], begin: datetime, end: datetime, zero: datetime
) -> Iterable[Tick]:
    """Round moments, none in a cut; after a cut, its end is named too."""
    worked = (end - begin) - sum((b - a for a, b in pauses), timedelta())
    step = _nice(worked / timedelta(seconds=1) / TICKS)
    last = -TICK_GAP
    for number, (start, stop) in enumerate(_without((begin, end), pauses)):
        moments = [start] if number or start != zero else []
        first = int(-((zero - start) / step)) if start > zero else 0
        moments += [
            moment
            for n in range(first, first + 10 * TICKS)
            if start <= (moment := zero + n * step) <= stop
        ]
        for moment in moments:
            x = axis.x(moment)
            # A name has room to its right; that of a cut's begin would stand in the cut.
            room = WIDTH - TICK_GAP / 2 if stop == end else axis.x(stop) - TICK_GAP / 2
            if x - last >= TICK_GAP and x <= room:
                last = x
                yield Tick(x, "0" if moment == zero else f"+{duration(moment - zero)}")


def _nice(seconds: float) -> timedelta:
    """A round time, not much less than ``seconds``."""
    return timedelta(seconds=next((n for n in _NICE_SECONDS if n >= seconds), _NICE_SECONDS[-1]))
