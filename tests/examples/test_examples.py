"""Every example runs, on a real database, and prints what it says it would."""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path

import pytest

from grctl.client import Client, Connection
from grctl.settings import Settings
from tests.support import Database, environment
from tests.support.processes import REPOSITORY

OUTPUT = {
    "account": ["100", "2 of 3 were paid", "balance 20", "closed with 20"],
    "agent": ["Oslo has 20 degrees; Rome has 20 degrees"],
    "approval": [
        "to ada: please approve 'a new chair'",
        "a new chair: approved by ada",
        "to ada: please approve 'a new desk'",
        "a new desk: nobody answered",
    ],
    "fan_out": ["6", "'total': 4", "/1 failed: ValueError: an empty text"],
    "pipeline": ["at least half is done: True", "95 rows", "Progress(done=95, of=95)"],
    "polling": ["job-nosferatu was done when asked 5 times"],
    "schedule": [
        "report 1 is sent",
        "report 2 is sent",
        "report 3 is sent",
        "the first run: continued",
    ],
}


@pytest.fixture
def variables(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The environment that a reader of the example would have."""
    monkeypatch.setenv("GRCTL_DATABASE_URL", database.dsn)
    monkeypatch.setenv("GRCTL_POLL_SECONDS", "0.2")
    return database


@pytest.mark.parametrize("name", OUTPUT)
async def test_an_example_prints_what_it_says(
    name: str, variables: Database, capsys: pytest.CaptureFixture[str]
):
    await importlib.import_module(f"examples.{name}").main()
    printed = capsys.readouterr().out
    for line in OUTPUT[name]:
        assert line in printed
    open_runs = await variables.fetchval("select count(*) from grctl.runs where ended_at is null")
    assert open_runs == 0


def test_no_example_is_left_out():
    found = {
        path.stem
        for path in Path(REPOSITORY, "examples").glob("*.py")
        if "__main__" in path.read_text(encoding="utf-8")
    }
    assert found == set(OUTPUT)


async def test_an_example_is_a_program(database: Database):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "examples.agent",
        cwd=REPOSITORY,
        env=environment(database.dsn),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert (process.returncode, out.decode().strip()) == (0, OUTPUT["agent"][0])


async def test_the_order_is_shipped_or_undone(variables: Database, settings: Settings):
    from examples.order import workflow
    from examples.session import session
    from grctl.errors import WorkflowError

    order = {"id": "7", "items": ["book", "lamp"], "card": "good", "amount_cents": 4200}
    async with session(workflow) as client:
        shipped = await client.run_workflow("order", "order-7", {"order": order})
        with pytest.raises(WorkflowError, match=r"PaymentDeclined: the bank declines 42\.00"):
            await client.run_workflow(
                "order", "order-8", {"order": order | {"id": "8", "card": "expired"}}
            )
    assert shipped == {"receipt": "receipt-7", "parcels": ["parcel-7/book", "parcel-7/lamp"]}
    async with await Connection.connect(settings=settings) as connection:
        history = await Client(connection).get_history("order-8")
    released = [e for e in history if e.kind == "task.completed" and "release" in e.msg.task_name]
    assert len(released) == 2


async def test_a_web_service_starts_a_run_and_asks_for_it(variables: Database):
    pytest.importorskip("fastapi")
    httpx = pytest.importorskip("httpx")
    from examples import web

    asked = {"what": "a lamp", "who": "ada", "patience": "P1D"}
    async with (
        web.lifespan(web.app),
        httpx.AsyncClient(transport=httpx.ASGITransport(web.app), base_url="http://test") as http,
    ):
        assert (await http.get("/approvals/1")).status_code == 404
        assert (await http.post("/approvals/1", json=asked)).status_code == 202
        assert (await http.post("/approvals/1", json=asked)).status_code == 409
        decision = {"approved": True, "by": "ada"}
        decided = await http.post("/approvals/1/decision", json=decision)
        assert decided.json() == {"accepted": True}
        handle = await web.app.state.client.get_workflow_handle("approval-1")
        await handle.result(timeout=10)
        assert (await http.get("/approvals/1")).json() == {
            "status": "completed",
            "result": "a lamp: approved by ada",
        }
        assert (await http.post("/approvals/1/decision", json=decision)).status_code == 409
