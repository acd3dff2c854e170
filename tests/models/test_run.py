"""Every status is open or ended, and says what the run is doing."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from grctl.models import RunInfo, RunStateKind, RunStatus

KINDS = {
    RunStatus.SCHEDULED: RunStateKind.START,
    RunStatus.RUNNING: RunStateKind.STEP,
    RunStatus.WAITING: RunStateKind.WAIT,
    RunStatus.DELAYED: RunStateKind.DELAY,
    RunStatus.COMPLETED: RunStateKind.ENDED,
    RunStatus.FAILED: RunStateKind.ENDED,
    RunStatus.CANCELLED: RunStateKind.ENDED,
    RunStatus.TERMINATED: RunStateKind.ENDED,
    RunStatus.TIMED_OUT: RunStateKind.ENDED,
    RunStatus.CONTINUED: RunStateKind.ENDED,
}


@pytest.mark.parametrize("status", RunStatus)
def test_a_status_is_open_until_the_run_has_ended(status: RunStatus) -> None:
    kind = KINDS[status]

    assert status.state_kind is kind
    assert status.is_ended is (kind is RunStateKind.ENDED)
    assert status.is_open is not status.is_ended


def test_a_status_is_its_text() -> None:
    assert RunStatus("timed_out") is RunStatus.TIMED_OUT
    assert f"{RunStatus.TIMED_OUT}" == "timed_out"


def test_run_info_has_its_id_under_both_names() -> None:
    run_id = UUID("01890000-0000-7000-8000-000000000001")
    run = RunInfo(
        id=run_id,
        wf_id="order-1",
        wf_type="order",
        status=RunStatus.WAITING,
        created_at=datetime(2024, 5, 1, tzinfo=UTC),
    )

    assert run.run_id == run.id == run_id
    assert run.state_kind is RunStateKind.WAIT
    assert (run.attempt, run.parent_run_id, run.result, run.error) == (1, None, None, None)
