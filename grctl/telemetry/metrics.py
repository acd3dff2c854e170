"""What one worker has done, counted.

The journal tells of each batch once, when it is committed: what was not recorded is not counted.
Counting is in the path of every task, so a series is a list of integers: the number of values in
each power of two, and their sum. Another thread reads the lists while the worker's loop writes
them: each number is right by itself, if not to the same instant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from grctl.postgres.batch import Commit

__all__ = ["OTHER", "SUM", "Metrics", "Series"]

Series = list[int]
"""How many values had each bit length, and at ``SUM`` their sum."""

SUM = 64
"""Where in a series the sum stands: no value is longer than a bigint of PostgreSQL."""

MOST_SERIES = 500
"""Of one metric, at most; names that come after them are counted together."""
OTHER = "other"
"""The label of names that came too late."""


class Metrics:
    """Counts of one worker. Give it to ``Worker(metrics=…)``, and what it says to Prometheus by
    ``grctl.telemetry.prometheus.Exposition``. Durations are in microseconds.
    """

    def __init__(self) -> None:
        self.now: Callable[[], datetime] = lambda: datetime.now(UTC)
        """The database's time, once a worker has it."""
        self.started: dict[tuple[str, ...], int] = {}
        """Runs that were claimed for the first time, by type."""
        self.resumed: dict[tuple[str, ...], int] = {}
        """Runs that were claimed in the middle of a step, by type."""
        self.claims: dict[tuple[str, ...], int] = {}
        """By cause."""
        self.start_lags: dict[tuple[str, ...], Series] = {}
        """From a run's start to its first claim, by type."""
        self.runs: dict[tuple[str, ...], Series] = {}
        """From a run's start to its end, by type and status."""
        self.steps: dict[tuple[str, ...], Series] = {}
        """By type, step and kind of the row that ended it."""
        self.tasks: dict[tuple[str, ...], Series] = {}
        """Attempts, by task and kind of the row that ended it."""
        self.batch_rows = _series()
        self.batch_times = _series()
        self.leases_lost = 0
        self.workers_taken_over = 0
        self.runs_taken_over = 0
        self.stalls = 0

    def claimed(self, rows: Sequence[Any]) -> None:
        """Runs were claimed; the rows as the statement gives them."""
        kinds = Counter((row["was"], row["cause"], row["wf_type"]) for row in rows)
        for (was, cause, wf_type), count in kinds.items():
            _add(self.claims, (cause,), count)
            if was == "scheduled":
                _add(self.started, (wf_type,), count)
            elif was == "running":
                _add(self.resumed, (wf_type,), count)
        lags = self.start_lags
        for row in rows:
            if row["was"] == "scheduled":
                key = (row["wf_type"],)
                lag = _micros(row["created_at"], row["now"])
                series = lags.get(key) or _series_of(lags, key)
                series[lag.bit_length()] += 1
                series[SUM] += lag

    def committed(self, batch: Sequence[Commit], seconds: float) -> None:
        """A batch is in the database, ``seconds`` after it was sent. The worker's hot path."""
        _observe(self.batch_rows, len(batch))
        _observe(self.batch_times, int(seconds * 1_000_000))
        tasks, steps = self.tasks, self.steps
        now: datetime | None = None
        for commit in batch:
            row = commit.row
            micros = row.micros
            if micros is None:
                continue
            key: tuple[str, ...]
            transition = commit.transition
            if transition is None:
                key = (row.name or "", row.kind)
                series = tasks.get(key) or _series_of(tasks, key)
            else:
                verdict = None if commit.answer is None else commit.answer.verdict
                if verdict == "lost":
                    continue
                key = (commit.run.wf_type, row.name or "", row.kind)
                series = steps.get(key) or _series_of(steps, key)
                # A cancel that came meanwhile takes the directive's place: then the run is kept.
                if transition.go in _ENDS and verdict != "kept":
                    now = now or self.now()
                    ended = _series_of(self.runs, (commit.run.wf_type, transition.status))
                    _observe(ended, _micros(commit.run.created_at, now))
            series[micros.bit_length()] += 1
            series[SUM] += micros


_ENDS = frozenset({"end", "stop"})


def _series() -> Series:
    return [0] * (SUM + 1)


def _observe(series: Series, value: int) -> None:
    series[value.bit_length()] += 1
    series[SUM] += value


def _series_of(metric: dict[tuple[str, ...], Series], key: tuple[str, ...]) -> Series:
    """The series of these labels. The last of several is one of a few kinds; all else are names."""
    series = metric.get(key)
    if series is None:
        series = metric.setdefault(_admitted(metric, key), _series())
    return series


def _add(metric: dict[tuple[str, ...], int], key: tuple[str, ...], count: int) -> None:
    if key not in metric:
        key = _admitted(metric, key)
    metric[key] = metric.get(key, 0) + count


def _admitted(metric: dict[tuple[str, ...], Any], key: tuple[str, ...]) -> tuple[str, ...]:
    if len(metric) < MOST_SERIES:
        return key
    return (OTHER,) if len(key) == 1 else (*(OTHER for _ in key[:-1]), key[-1])


def _micros(began: datetime, ended: datetime) -> int:
    return max(0, int((ended - began).total_seconds() * 1_000_000))
