"""What a worker says to Prometheus: its counts, how it is now, and what waits in the database.

The names and labels are a contract with dashboards and alerts; docs/observability.md lists them.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from grctl.errors import ConfigurationError
from grctl.postgres.depths import Depths
from grctl.telemetry.health import Vitals
from grctl.telemetry.metrics import SUM, Metrics, Series
from grctl.version import __version__

try:
    from prometheus_client import REGISTRY
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
    )
    from prometheus_client.exposition import choose_encoder
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ConfigurationError(
        "metrics need prometheus_client, which is not installed: pip install 'grctl[metrics]'"
    ) from error

__all__ = ["REGISTRY", "Exposition", "choose_encoder"]

_SECOND = 1_000_000
_TIMES = range(9, 28)
"""Durations: from 2**9 to 2**27 microseconds, 0.5 ms to 134 s."""
_ROWS = range(1, 11)
"""Rows of a batch: from 1 to 1,023."""

_TASK_OUTCOMES = {
    "task.completed": "completed",
    "task.attempt_failed": "retried",
    "task.failed": "failed",
    "task.cancelled": "cancelled",
}
_STEP_OUTCOMES = {
    "step.completed": "completed",
    "step.attempt_failed": "retried",
    "step.failed": "failed",
    "step.timeout": "timed_out",
    "wait.timed_out": "wait_timed_out",
    "event.unhandled": "unhandled",
    "run.timeout": "run_timed_out",
    "run.cancelled": "cancelled",
}


class Exposition(Collector):
    """A collector for ``prometheus_client``, for one worker. Asked by any thread.

    ``vitals`` is ``worker.vitals``; ``depths`` reads what waits in the database, and gives None if
    it does not answer.
    """

    def __init__(
        self,
        metrics: Metrics,
        vitals: Callable[[], Vitals],
        depths: Callable[[], Depths | None] | None = None,
    ) -> None:
        self._metrics = metrics
        self._vitals = vitals
        self._depths = depths

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering it must not ask the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now."""
        yield from _counted(self._metrics)
        yield from _standing(self._vitals(), self._metrics)
        if self._depths is not None:
            yield from _waiting(self._depths())


def _counted(metrics: Metrics) -> Iterator[Metric]:
    yield _counter("runs_started", "Runs claimed for the first time.", ["type"], metrics.started)
    yield _counter(
        "runs_resumed",
        "Runs claimed in the middle of a step: after a crash, or given back.",
        ["type"],
        metrics.resumed,
    )
    yield _counter(
        "claims", "Claims of runs, by what the run was due for.", ["cause"], metrics.claims
    )
    yield _histogram(
        "run_start_lag_seconds",
        "From a run's start to its first claim.",
        ["type"],
        metrics.start_lags,
    )
    yield _histogram(
        "run_seconds",
        "From a run's start to its end, on this worker.",
        ["type", "status"],
        metrics.runs,
    )
    yield _histogram(
        "step_seconds",
        "One attempt of a step, its tasks and sleeps included.",
        ["type", "step", "outcome"],
        _named(metrics.steps, _STEP_OUTCOMES),
    )
    yield _histogram(
        "task_seconds",
        "One attempt of a task; its count is the number of attempts.",
        ["task", "outcome"],
        _named(metrics.tasks, _TASK_OUTCOMES),
    )
    yield _histogram(
        "journal_batch_rows", "Rows of a batch.", [], {(): metrics.batch_rows}, _ROWS, unit=1
    )
    yield _histogram(
        "journal_commit_seconds",
        "From a batch's sending until it is known to be committed, retries included.",
        [],
        {(): metrics.batch_times},
    )


def _standing(vitals: Vitals, metrics: Metrics) -> Iterator[Metric]:
    yield _gauge(
        "build_info", "Always 1.", 1, version=__version__, python=platform.python_version()
    )
    yield _gauge("worker_info", "Always 1.", 1, worker=vitals.worker_id, name=vitals.worker_name)
    yield _gauge("runs_held", "Runs that this worker has.", vitals.held)
    yield _gauge(
        "runs_sleeping", "Those of them that only sleep: they take no slot.", vitals.sleeping
    )
    yield _gauge("concurrency", "Runs in flight, at most.", vitals.concurrency)
    yield _gauge("journal_waiting", "Rows that are not sent yet.", vitals.records_waiting)
    yield _gauge("worker_stopping", "1 while it drains.", vitals.is_stopping)
    yield _gauge("lease_held", "1 while it is registered and its lease valid.", vitals.holds_lease)
    yield _gauge("lease_left_seconds", "Until the lease ends without renewal.", vitals.lease_left)
    yield _gauge(
        "loop_silent_seconds", "Since the event loop's last sign of life.", vitals.loop_silent
    )
    for name, text, value in (
        ("leases_lost", "Times this worker was declared dead and began anew.", metrics.leases_lost),
        ("loop_stalls", "Times the event loop stood still for over a second.", metrics.stalls),
        ("workers_taken_over", "Dead workers found by this one.", metrics.workers_taken_over),
        ("runs_taken_over", "Runs it made due again for them.", metrics.runs_taken_over),
    ):
        yield _counter(name, text, [], {(): value})


def _waiting(depths: Depths | None) -> Iterator[Metric]:
    yield _gauge("database_up", "1 if the database answered this scrape.", depths is not None)
    if depths is None:
        return
    due = GaugeMetricFamily(
        "grctl_due_runs", "Runs that are due and nobody's; 1000 at most.", labels=["type"]
    )
    oldest = GaugeMetricFamily(
        "grctl_due_oldest_seconds", "How long the first of them has been due.", labels=["type"]
    )
    workers = GaugeMetricFamily(
        "grctl_type_workers", "Live workers that serve it.", labels=["type"]
    )
    for each in depths.due:
        due.add_metric([each.wf_type], each.runs)
        oldest.add_metric([each.wf_type], each.oldest_seconds or 0.0)
        workers.add_metric([each.wf_type], each.workers)
    yield from (due, oldest, workers)
    yield _gauge("inbox_messages", "Messages not handled yet; 10000 at most.", depths.messages)
    yield _gauge("open_queries", "Queries nobody has taken yet.", depths.queries)
    yield _gauge("open_closings", "Children of ended parents, to be ended.", depths.closings)
    states = GaugeMetricFamily("grctl_workers", "Registered workers, by state.", labels=["state"])
    states.add_metric(["up"], depths.workers_up)
    states.add_metric(["late"], depths.workers_late)
    yield states


def _named(
    metric: Mapping[tuple[str, ...], Series], outcomes: Mapping[str, str]
) -> dict[tuple[str, ...], Series]:
    """With the outcome's name instead of the row's kind."""
    return {(*key[:-1], outcomes.get(key[-1], key[-1])): each for key, each in _items(metric)}


def _gauge(name: str, text: str, value: float, /, **labels: str) -> Metric:
    family = GaugeMetricFamily(f"grctl_{name}", text, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


def _counter(
    name: str, text: str, labels: list[str], values: Mapping[tuple[str, ...], int]
) -> Metric:
    family = CounterMetricFamily(f"grctl_{name}", text, labels=labels)
    for key, value in _items(values):
        family.add_metric(key, value)
    return family


def _histogram(
    name: str,
    text: str,
    labels: list[str],
    values: Mapping[tuple[str, ...], Series],
    lengths: range = _TIMES,
    unit: int = _SECOND,
) -> Metric:
    family = HistogramMetricFamily(f"grctl_{name}", text, labels=labels)
    for key, series in _items(values):
        family.add_metric(key, _buckets(list(series), lengths, unit), series[SUM] / unit)
    return family


def _buckets(series: Series, lengths: range, unit: int) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus has them. A value of n bits is at most 2**n - 1."""
    buckets = [
        (repr((2**length - (unit == 1)) / unit), float(sum(series[: length + 1])))
        for length in lengths
    ]
    return [*buckets, ("+Inf", float(sum(series[:SUM])))]


_K = TypeVar("_K")
_V = TypeVar("_V")


def _items(values: Mapping[_K, _V]) -> list[tuple[_K, _V]]:
    """At once: the worker's loop may add to it meanwhile."""
    return list(values.items())
