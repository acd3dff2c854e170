"""`grctl top` in a real terminal, on a real worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from grctl.client import Client, Connection
from tests.support import Database, WorkerProcess, run_cli, wait_until
from tests.support.terminal import Terminal

LONG = 40
ENTER, BACKSPACE, DOWN = "\r", "\x7f", "\x1b[B"


@pytest_asyncio.fixture
async def client(database: Database) -> AsyncIterator[Client]:
    async with await Connection.connect(database.dsn, poll_seconds=0.2) as connection:
        yield Client(connection)


async def shown(terminal: Terminal, *parts: str) -> None:
    try:
        await wait_until(lambda: terminal.shows(*parts), f"{parts} is shown", timeout=LONG)
    except AssertionError as error:
        raise AssertionError(f"{error}; the screen:\n{terminal.text}") from None


async def test_it_shows_workers_and_runs_and_follows_them(
    client: Client, database: Database, tmp_path: Path
):
    worker = WorkerProcess(
        "tests.workflows.observed", database_url=database.dsn, env={"GRCTL_WORKER_NAME": "alpha"}
    )
    async with worker, Terminal("top", "--every", "0.3", database_url=database.dsn) as terminal:
        await shown(terminal, "workers 1", "held 0 of 500", "alpha.", "runs running: 0")
        for name in ("first", "[b]second"):
            await client.start_workflow("observed.dying", name, {"place": str(tmp_path)})
            await shown(terminal, name, "live_twice")
        await shown(terminal, "held 2 of 500", "2/500", "runs running: 2")

        terminal.press(DOWN + ENTER)
        await shown(terminal, "[b]second  (run ", "run started", "alpha")
        await wait_until(lambda: has_long_tasks(database), "the tasks are noted", timeout=LONG)
        terminal.press("r")
        await shown(terminal, "task 'wait_for_file' runs")
        terminal.press(BACKSPACE)
        await shown(terminal, "runs running: 2")

        terminal.press("p")
        await shown(terminal, "PAUSED")
        (tmp_path / "go on").touch()
        for name in ("first", "[b]second"):
            handle = await client.get_workflow_handle(name)
            assert await handle.result(timeout=LONG) == "survived"
        assert terminal.shows("runs running: 2")
        terminal.press("p")
        await shown(terminal, "runs running: 0", "held 0 of 500")
        terminal.press("4")
        await shown(terminal, "runs latest: 2", "completed")
        terminal.press("q")
        assert await terminal.ended() == 0


async def test_a_worker_that_was_declared_dead_and_lives_is_there_twice(
    client: Client, database: Database
):
    """As after each outage of the database: both terms have the name of the process."""
    environment = {"GRCTL_WORKER_NAME": "alpha"}
    async with WorkerProcess(
        "tests.workflows.observed", database_url=database.dsn, env=environment
    ):
        # In one transaction: a renewal does not come between.
        await database.execute(
            "update grctl.workers set lease_until = '2000-01-01'; select grctl.take_over()"
        )
        await wait_until(lambda: is_back(database), "the worker begins anew", timeout=LONG)

        async with Terminal("top", database_url=database.dsn) as terminal:
            await shown(terminal, "workers 1", "lost", "up")
            terminal.press("q")
            assert await terminal.ended() == 0


async def is_back(database: Database) -> bool:
    terms = await database.fetchval("select count(*) from grctl.workers where worker_id ~ 'alpha'")
    return terms == 2


async def has_long_tasks(database: Database) -> bool:
    noted = await database.fetchval("select count(*) from grctl.events where kind = 'task.started'")
    return noted == 2


async def test_a_backlog_and_a_timer_have_their_lists(client: Client, database: Database):
    await database.execute(
        "insert into grctl.workflow_types (wf_type, start_step, step_names, event_names,"
        " query_names, update_names) values ('lonely', 's', '{}', '{}', '{}', '{}')"
    )
    for name in ("overdue", "tomorrow"):
        await client.start_workflow("lonely", name)
    await database.execute(
        "update grctl.runs set status = 'delayed', wake_at = now() + interval '1 day'"
        " where wf_id = 'tomorrow'"
    )
    async with Terminal("top", "--every", "0.3", database_url=database.dsn) as terminal:
        await shown(terminal, "workers 0", "due 1, oldest")
        terminal.press("2")
        await shown(terminal, "no worker: 1", "overdue", "lonely")
        terminal.press(ENTER)
        await shown(terminal, "overdue  (run ", "no worker")
        terminal.press(BACKSPACE + "3")
        await shown(terminal, "timer: 1", "tomorrow", "23 h")


async def test_without_a_terminal_it_says_what_there_is_instead(database: Database):
    ended = await run_cli("top", database_url=database.dsn)
    assert ended.code == 2
    assert "grctl list --json" in ended.err
