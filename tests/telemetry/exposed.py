"""What an exposition says of metrics that are made by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from grctl.postgres.batch import Answer
from grctl.postgres.depths import Depths
from grctl.telemetry import Metrics
from grctl.telemetry.health import Vitals
from grctl.telemetry.prometheus import Exposition
from tests.telemetry.conftest import samples_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def said(metrics: Metrics, depths: Depths | None = None) -> dict[str, float]:
    """Every sample by its name and labels."""
    registry = CollectorRegistry()
    registry.register(Exposition(metrics, vitals, (lambda: depths) if depths else None))
    return samples_of(generate_latest(registry).decode())


def vitals() -> Vitals:
    return Vitals(
        worker_id="w", worker_name="n", is_registered=True, is_stopping=False, is_lease_kept=True,
        lease_left=1.0, loop_silent=0.0, longest_silence=60.0, held=0, sleeping=0, concurrency=1,
        records_waiting=0,
    )  # fmt: skip


def task(name: str, micros: int | None, kind: str = "task.completed") -> Any:
    """A task's record, committed."""
    row = SimpleNamespace(name=name, kind=kind, micros=micros)
    return SimpleNamespace(row=row, transition=None, answer=None, run=None)


def end(verdict: str | None, go: str = "end", status: str = "completed") -> Any:
    """The record of a step's end, and what the database said of it."""
    return SimpleNamespace(
        row=SimpleNamespace(name="step", kind="step.completed", micros=1000),
        transition=SimpleNamespace(go=go, status=status),
        answer=None if verdict is None else Answer(verdict),
        run=SimpleNamespace(wf_type="t", created_at=NOW - timedelta(seconds=1)),
    )


def claim(was: str) -> dict[str, Any]:
    """A row of a claim."""
    return {"was": was, "cause": "start", "wf_type": "t", "created_at": NOW, "now": NOW}
