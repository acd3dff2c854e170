"""The database's claim decides why a run is awake by the order that the state table says."""

from __future__ import annotations

from typing import Any

import pytest

from grctl.client import Client
from grctl.engine.transitions import WAKE_ORDER, Wake
from grctl.postgres.sql import statements
from tests.features.looking import has_status
from tests.support import Database

DUE = "wake_at = grctl.now() - interval '1 second'"
DEADLINE = "deadline_at = grctl.now() - interval '1 second'"
CANCEL = "cancel_requested_at = grctl.now()"
MESSAGE = "inbox_tail = inbox_head + 1"


@pytest.mark.parametrize(
    ("changes", "wake"),
    [
        ([DUE, "status = 'waiting'"], Wake.TIMEOUT),
        ([DUE, "status = 'waiting'", MESSAGE], Wake.EVENT),
        ([DUE, "status = 'waiting'", MESSAGE, CANCEL], Wake.CANCEL),
        ([DUE, "status = 'waiting'", MESSAGE, CANCEL, DEADLINE], Wake.RUN_TIMEOUT),
        ([DUE, "status = 'delayed'", "cause = 'step'", MESSAGE], Wake.STEP),
        ([DUE, "status = 'delayed'", "cause = 'event'"], Wake.EVENT),  # a handler's retry
        ([DUE, "status = 'delayed'", "cause = 'step'", CANCEL], Wake.CANCEL),
        ([DUE, "status = 'delayed'", "cause = 'step'", DEADLINE], Wake.RUN_TIMEOUT),
        ([DUE, "status = 'running'", "cause = 'event'", MESSAGE, CANCEL], Wake.EVENT),
        ([DUE, "status = 'running'", "cause = 'start'", DEADLINE], Wake.RUN_TIMEOUT),
        ([DUE, "status = 'scheduled'", MESSAGE], Wake.START),
        ([DUE, "status = 'scheduled'", MESSAGE, CANCEL], Wake.CANCEL),
        (["wake_at = grctl.now() + interval '1 hour'", "status = 'waiting'", MESSAGE], None),
        (["wake_at = null", "status = 'completed'", "ended_at = grctl.now()"], None),
    ],
)
async def test_a_claimed_run_is_awake_for_the_first_reason_that_holds(
    database: Database, client: Client, serve: Any, changes: list[str], wake: Wake | None
) -> None:
    worker = await serve()
    await client.start_workflow("features.box", "a")
    await has_status(database, "a", "waiting")
    number = worker.worker_no
    await worker.stop()
    # The claim below is that of a worker that lives, without one that would come before it.
    await database.execute("update grctl.workers set ended_at = null, end_reason = null")
    await database.execute(f"update grctl.runs set {', '.join(changes)}")

    sql = statements("runs", "grctl")["claim"]
    rows = await database.fetch(sql, number, ["features.box"], 10, None)

    assert [row["cause"] for row in rows] == ([] if wake is None else [wake.value])


def test_every_reason_has_its_place_in_the_order() -> None:
    assert [wake for wake, _ in WAKE_ORDER] == [
        Wake.RUN_TIMEOUT,
        Wake.CANCEL,
        Wake.START,
        Wake.STEP,
        Wake.EVENT,
        Wake.TIMEOUT,
    ]
    assert {wake for wake, _ in WAKE_ORDER} == set(Wake)
