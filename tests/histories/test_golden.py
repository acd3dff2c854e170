"""Golden histories: made anew they are the same, read they say the same, replayed all is known."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
import pytest_asyncio

from grctl.client import Client, Connection
from grctl.engine.history import expand
from grctl.errors import NonDeterminismError
from grctl.models import HistoryKind
from grctl.postgres.history import read_history
from grctl.settings import Settings
from grctl.worker import Worker
from tests.histories.programs import Outside, enter, golden
from tests.histories.replayed import check_replay
from tests.histories.stored import HERE, History, comparable, normalised, read, write
from tests.histories.stories import STORIES, Stage
from tests.support import Database

FILES = sorted(path.stem for path in HERE.glob("*.json"))
RECORDS = bool(os.environ.get("GRCTL_TEST_RECORD"))
LONG = 100_000


@pytest_asyncio.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    """A client, with a worker in this process beside it."""
    async with (
        await Connection.connect(settings=settings) as connection,
        asyncio.TaskGroup() as group,
    ):
        worker = Worker([golden], connection)
        group.create_task(worker.start())
        await worker.wait_until_ready()
        yield Client(connection)
        await worker.stop(shutdown_timeout=0)


async def stored(client: Client, run_id: UUID) -> History:
    info = next(run for run in await client.list_workflows() if run.id == run_id)
    found = await read_history(client.database, info.wf_id, run_id)
    assert found is not None
    return normalised(*found)


@pytest.mark.parametrize("name", STORIES)
async def test_a_run_leaves_the_history_that_it_always_left(
    client: Client, database: Database, name: str
) -> None:
    stage = Stage(client, database, enter(Outside()))
    run_id = await STORIES[name](stage)
    history = await stored(client, run_id)
    if RECORDS:
        write(name, history)
    recorded, _ = read(name)
    assert comparable(history) == comparable(recorded)
    wf_id = recorded.record.wf_id
    told = [event.kind for event in await client.get_history(wf_id, run_id)]
    assert told == [event.kind for event in expand(recorded.rows, recorded.record)]


@pytest.mark.parametrize("name", FILES)
def test_a_stored_history_is_read_as_it_always_was(name: str) -> None:
    history, told = read(name)
    assert [event.to_dict() for event in expand(history.rows, history.record)] == told


@pytest.mark.parametrize("name", FILES)
def test_a_stored_history_is_replayed_and_nothing_is_run(name: str) -> None:
    history, _ = read(name)
    outside = enter(Outside())
    asked = check_replay(golden, history)
    assert asked == {(row.step_no, row.op) for row in history.rows if row.op is not None}
    # What a step was stopped in was begun, and begins again; all that has an outcome does not.
    assert set(outside.performed) <= {"stand_at"}
    done = {row.name for row in history.rows if row.kind in ("task.completed", "task.cancelled")}
    assert not done & set(outside.performed)


def test_a_history_that_has_more_than_the_code_asks_for_is_not_replayed() -> None:
    history, _ = read("one_task")
    history.rows.insert(1, replace(history.rows[0], op="2"))
    with pytest.raises(NonDeterminismError, match="ended without asking for what history has"):
        check_replay(golden, history)


def test_a_history_that_has_something_else_is_not_replayed() -> None:
    history, _ = read("one_task")
    history.rows[0].name = "subtract"
    with pytest.raises(NonDeterminismError, match="history has task 'subtract'"):
        check_replay(golden, history)


def test_a_history_that_has_less_is_not_replayed() -> None:
    history, _ = read("gathered")
    del history.rows[1]
    with pytest.raises(AssertionError, match="asks for more than its history has"):
        check_replay(golden, history)


def test_every_file_has_its_story_and_every_kind_is_in_a_file() -> None:
    assert set(FILES) == set(STORIES)
    kinds = {event["kind"] for name in FILES for event in read(name)[1]}
    assert kinds == {kind.value for kind in HistoryKind}


def test_nothing_of_the_machine_is_in_a_file() -> None:
    for name in FILES:
        text = (HERE / f"{name}.json").read_text(encoding="utf-8")
        assert str(Path.home()) not in text
        assert 'File "' not in text


async def test_a_history_of_100_000_events_is_read_in_pages(
    client: Client, database: Database
) -> None:
    handle = await client.start_workflow("golden", "long", {"how": "waits"})
    await Stage(client, database, enter(Outside())).waiting("long")
    await database.execute(
        """
        insert into grctl.events (run_id, seq, step_no, step_attempt, kind, op, name, micros,
            batch, epoch, worker_no, input, body)
        select e.run_id, e.seq + n, 2, 1, 'task.completed', n::text, 'add', 1000,
            n, e.epoch, e.worker_no, '{"first": 1, "second": 2}', '3'
        from grctl.events e, generate_series(1, $2::integer) n
        where e.run_id = $1 and e.seq = 1
        """,
        handle.run_id,
        LONG // 2,
    )
    events = await client.get_history("long")
    assert len(events) > LONG
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    completed = [event.operation_id for event in events if event.kind == "task.completed"]
    assert completed == [str(n) for n in range(1, LONG // 2 + 1)]
    assert sum(event.kind == "task.started" for event in events) == LONG // 2
