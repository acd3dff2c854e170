"""Exceptions that are hard to record, among runs that are not: each ends its own run at most, and
a replay sees what the first pass saw."""

from __future__ import annotations

import asyncio
from typing import Any

from grctl.client import Client
from grctl.errors import StepFailed
from tests.support import Database, wait_until
from tests.support.ledger import Ledger
from tests.workflows.faults import WEIRD

WHERE = ("step", "task, caught", "task, let go")


async def test_whatever_is_raised_ends_its_own_run_alone_and_replays_as_it_was(
    database: Database, client: Client, ledger: Ledger, launch: Any
) -> None:
    worker = await launch()
    handles = {
        (kind, where): await client.start_workflow(
            "faults.weird", f"{where}: {kind}", {"kind": kind, "where": where}
        )
        for kind in WEIRD
        for where in WHERE
    }
    caught = 2 * len(WEIRD)
    await wait_until(lambda: ledger.count("start", key="gate") == caught, "all caught", timeout=60)
    worker.kill()
    for _, where in handles:
        for kind in WEIRD:
            ledger.open_gate(f"{where}: {kind}")
    second = await launch()

    for (kind, where), handle in handles.items():
        [outcome] = await asyncio.gather(handle.result(timeout=60), return_exceptions=True)
        live = {each.value for each in ledger.entries("seen", f"{where}: {kind}")}
        assert len(live) == (where != "step"), (kind, where)
        if where == "task, caught":
            assert outcome in live, (kind, where)
        else:
            assert isinstance(outcome, StepFailed), (kind, where, outcome)
            assert outcome.details is not None
        if where != "step":
            assert ledger.count("start", f"{where}: {kind}", "raise") == 2
    assert second.returncode is None
    assert await database.fetchval("select count(*) from grctl.runs where ended_at is null") == 0
    assert '"executor failed"' not in worker.output + second.output
