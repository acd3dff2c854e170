"""Counting: what belongs into which series, and how many series there can be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from grctl.telemetry import Metrics
from grctl.telemetry.metrics import MOST_SERIES
from tests.telemetry.exposed import NOW, end, said, task


@given(st.lists(st.integers(0, 2**40)))
def test_a_value_is_in_every_bucket_from_its_own_on(values: list[int]):
    metrics = Metrics()
    metrics.committed([task("t", value) for value in values], 0.0)
    samples = said(metrics)
    for name, count in samples.items():
        if name.startswith("grctl_task_seconds_bucket"):
            bound = float(name.split("le=")[1].split(" ")[0])
            assert count == sum(value < bound * 1_000_000 for value in values)
    if values:
        assert samples["grctl_task_seconds_count outcome=completed task=t"] == len(values)
        total = samples["grctl_task_seconds_sum outcome=completed task=t"]
        assert abs(total - sum(values) / 1e6) < 1e-6 * (1 + total)


@given(st.integers(1, 2000))
def test_a_batch_is_in_every_bucket_that_has_room_for_its_rows(rows: int):
    metrics = Metrics()
    metrics.committed([task("t", None)] * rows, 0.0)
    for name, count in said(metrics).items():
        if name.startswith("grctl_journal_batch_rows_bucket"):
            assert count == (rows <= float(name.split("le=")[1]))


def test_a_run_has_ended_only_if_the_database_says_so():
    metrics = Metrics()
    metrics.now = lambda: NOW
    batch = [
        end("gone"),
        end(None),  # a run that is gone may have no answer
        end("kept"),  # a cancel came first
        end("lost"),  # terminated by a client
        end("gone", go="wait", status="waiting"),
    ]
    metrics.committed(batch, 0.0)
    samples = said(metrics)
    assert samples["grctl_run_seconds_count status=completed type=t"] == 2
    assert samples["grctl_run_seconds_sum status=completed type=t"] == 2
    assert samples["grctl_step_seconds_count outcome=completed step=step type=t"] == 4


def test_names_without_end_are_counted_together():
    metrics = Metrics()
    metrics.committed([task(f"t{n}", 1) for n in range(3 * MOST_SERIES)], 0.0)
    assert len(metrics.tasks) == MOST_SERIES + 1
    counted = {
        name: value
        for name, value in said(metrics).items()
        if name.startswith("grctl_task_seconds_count")
    }
    assert counted.pop("grctl_task_seconds_count outcome=completed task=other") == 2 * MOST_SERIES
    assert set(counted.values()) == {1}
