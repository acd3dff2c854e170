"""What is deleted, what is not, and in what portions."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from grctl.client import Client
from grctl.errors import WorkflowNotFoundError
from grctl.models.retention import Policy, Pruned
from grctl.models.run import RunStatus
from grctl.postgres.retention import FIRST, choose, delete, prune
from tests.features.looking import has_status
from tests.retention.conftest import Fill, counts
from tests.support import Database, run_cli, wait_until
from tests.support.ledger import Ledger
from tests.workflows import features
from tests.workflows.why import asking, silent

MONTH = Policy({RunStatus.COMPLETED: timedelta(days=30)})
AT_ONCE = Policy({status: timedelta(0) for status in RunStatus if status.is_ended})


async def pruned(client: Client, policy: Policy, **options: Any) -> Pruned:
    total = Pruned()
    async for part, _ in prune(client.database, policy, pause=0.0, **options):
        total += part
    return total


async def test_a_run_goes_with_all_that_is_its_and_no_other(
    client: Client, database: Database, fill: Fill
) -> None:
    await fill(3, days=31)
    await fill(2, days=29)
    await fill(4, days=31, status="failed")

    done = await pruned(client, MONTH)

    assert done == Pruned(runs=3, events=9, store=3, inbox=3, answers=3)
    assert await counts(database) == {
        "runs": 6, "events": 18, "store": 6, "inbox": 6, "answers": 6, "closings": 0,
    }  # fmt: skip
    left = await database.fetch(
        "select distinct status from grctl.runs where ended_at < now() - $1::interval",
        timedelta(days=30),
    )
    assert [row["status"] for row in left] == ["failed"]


async def test_each_status_has_its_age_and_a_type_may_be_named(
    client: Client, database: Database, fill: Fill
) -> None:
    await fill(1, days=10, status="completed")
    await fill(1, days=10, status="failed")
    await fill(1, days=100, status="failed")
    await fill(1, days=100, status="failed", wf_type="other")
    ages = {RunStatus.COMPLETED: timedelta(days=7), RunStatus.FAILED: timedelta(days=90)}

    done = await pruned(client, Policy(ages, wf_type="t"))

    assert done.runs == 2
    left = {row["wf_id"] for row in await database.fetch("select wf_id from grctl.runs")}
    assert left == {"t failed 10 1", "other failed 100 1"}


async def test_open_runs_stay_however_old(client: Client, database: Database, fill: Fill) -> None:
    await fill(5, days=400)
    await database.execute(
        "update grctl.runs set status = 'waiting', ended_at = null where wf_id like '%1'"
    )
    assert (await pruned(client, AT_ONCE)).runs == 4
    assert await database.fetchval("select status from grctl.runs") == "waiting"


def test_a_policy_for_open_runs_is_refused() -> None:
    with pytest.raises(ValueError, match="waiting ones are open"):
        Policy({RunStatus.WAITING: timedelta(days=1)})


async def test_in_batches_by_runs_and_by_rows(
    client: Client, database: Database, fill: Fill
) -> None:
    await fill(10, days=40, events=3)

    first = await choose(client.database, MONTH, FIRST, 4)
    assert (len(first.runs), first.events, first.is_last) == (4, 12, False)
    rest = await choose(client.database, MONTH, first.next, 100)
    assert (len(rest.runs), rest.is_last) == (6, True)
    assert sorted([*first.runs, *rest.runs]) == [*first.runs, *rest.runs]

    await fill(3, days=50, events=12_000)
    large = await choose(client.database, MONTH)
    assert (len(large.runs), large.events, large.is_last) == (1, 12_000, False)
    assert await pruned(client, MONTH) == Pruned(13, 36_030, 13, 13, 13)


async def test_what_is_kept_is_passed_over_in_bounded_steps(
    client: Client, database: Database, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grctl.postgres.retention.SCANNED_ROWS", 100)
    await fill(250, days=60, status="failed", events=0)
    await fill(5, days=40)
    parts = [part.runs async for part, _ in prune(client.database, MONTH, pause=0.0)]
    assert parts == [0, 0, 5]


async def test_one_that_is_retried_meanwhile_is_left_alone(
    client: Client, database: Database, serve, book: Ledger
) -> None:
    from tests.workflows.acting import flaky

    await serve(flaky)
    handle = await client.start_workflow("acting.flaky", "f")
    await has_status(database, "f", "failed")
    chosen = await choose(client.database, AT_ONCE)
    assert len(chosen.runs) == 1

    # An operator's retry is under way, in a transaction of its own.
    other = await client.database.connect("test")
    async with other.transaction():
        await other.execute("select grctl.retry_run($1)", handle.run_info.id)
        assert await delete(client.database, chosen.runs, chosen.ended) == Pruned()
    await other.close()

    await has_status(database, "f", "failed")  # tried again, and failed again
    assert await delete(client.database, chosen.runs, chosen.ended) == Pruned()
    assert (await pruned(client, AT_ONCE)).runs == 1


async def test_a_parent_stays_while_a_child_is_open(
    client: Client, database: Database, serve
) -> None:
    await serve()
    given = {"children": [{"input": {"how": "wait"}}], "end": True}
    await client.run_workflow("features.parent", "p", given)
    await has_status(database, "p/0", "waiting")

    assert (await pruned(client, AT_ONCE)).runs == 0
    await (await client.get_workflow_handle("p/0")).send("let_go", {"value": 1})
    await has_status(database, "p/0", "completed")
    assert (await pruned(client, AT_ONCE)).runs == 2


async def test_a_child_stays_while_its_parent_may_ask_for_its_outcome(
    client: Client, database: Database, serve, book: Ledger
) -> None:
    await serve()
    given = {"children": [{}], "gate": "gate"}
    await client.start_workflow("features.parent", "p", given)
    await has_status(database, "p/0", "completed")

    assert (await pruned(client, AT_ONCE)).runs == 0  # the step that started it is not over
    book.open_gate("gate")
    await has_status(database, "p", "completed")
    assert (await pruned(client, AT_ONCE)).runs == 2


async def test_a_parent_gets_the_outcome_of_a_child_that_ended_while_no_worker_was_up(
    client: Client, database: Database, serve
) -> None:
    asker = await serve(asking)
    await serve(silent)
    handle = await client.start_workflow("why.asking", "a")
    await has_status(database, "a/child", "waiting")
    await asker.stop(shutdown_timeout=0)
    await (await client.get_workflow_handle("a/child")).terminate()

    assert (await pruned(client, AT_ONCE)).runs == 0
    await serve(asking)
    with pytest.raises(Exception, match="CancelledError"):
        await handle.result(timeout=30)


async def test_the_children_of_a_long_lived_parent_go_once_it_is_past_their_step(
    client: Client, database: Database, serve
) -> None:
    await serve()
    given = {"children": [{}, {"input": {"how": "wait"}}]}
    await client.start_workflow("features.parent", "p", given)
    await has_status(database, "p/0", "completed")
    await has_status(database, "p", "waiting")

    async def told() -> bool:
        sql = "select value::text::int = 1 from grctl.store where key = 'left'"
        return bool(await database.fetchval(sql))

    await wait_until(told, "the parent was told of the first child")
    assert (await pruned(client, AT_ONCE)).runs == 1
    await (await client.get_workflow_handle("p/1")).send("let_go", {"value": 7})
    outcomes = await (await client.get_workflow_handle("p")).result(timeout=30)
    assert [outcome[0] for outcome in outcomes.values()] == ["completed", "completed"]


async def test_a_chain_loses_its_past_and_goes_on(
    client: Client, database: Database, serve, book: Ledger
) -> None:
    await serve(features.again)
    await client.start_workflow("features.again", "a", {"left": 2})
    await wait_until(lambda: book.count("at gate"), "the chain stands at its gate")
    book.open_gate("2")
    await wait_until(lambda: book.count("at gate", key="1"), "it stands at the next")

    assert (await pruned(client, AT_ONCE)).runs == 1
    assert (await client.describe("a")).status is RunStatus.RUNNING
    book.open_gate("1")
    assert await (await client.get_workflow_handle("a")).result(timeout=30) == "done"


async def test_who_waits_for_a_run_that_is_deleted_is_told(
    client: Client, database: Database, serve
) -> None:
    await serve(features.child)
    handle = await client.start_workflow("features.child", "c")
    await has_status(database, "c", "completed")
    assert (await pruned(client, AT_ONCE)).runs == 1

    with pytest.raises(WorkflowNotFoundError, match="it was deleted"):
        await handle.result(timeout=30)
    with pytest.raises(WorkflowNotFoundError):
        await client.describe("c")


# --- the command ----------------------------------------------------------------------------------


async def test_the_command_counts_deletes_and_says_what(database: Database, fill: Fill) -> None:
    await fill(30, days=40)
    options = ("prune", "--older-than", "30d", "--status", "completed")

    counted = await run_cli(*options, "--dry-run", database_url=database.dsn)
    assert (counted.code, counted.out) == (0, "to be deleted: 30 runs, 90 events\n")
    assert (await counts(database))["runs"] == 30

    done = await run_cli(*options, "--batch", "7", "--json", database_url=database.dsn)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {
        "dry_run": False, "runs": 30, "events": 90, "store": 30, "inbox": 30, "answers": 30,
        "closings": 0,
    }  # fmt: skip
    assert set((await counts(database)).values()) == {0}

    again = await run_cli(*options, database_url=database.dsn)
    assert (again.code, again.out) == (0, "deleted: 0 runs, 0 events\n")

    await fill(1, days=40)
    one = await run_cli(*options, database_url=database.dsn)
    assert one.out == "deleted: 1 run, 3 events, 1 store, 1 inbox, 1 answer\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--older-than", "30", "--status", "completed"), "such as 30d"),
        (("--older-than", "30d", "--status", "running"), "running ones are open"),
        (("--older-than", "30d", "--status", "done"), "'done' is not a valid RunStatus"),
    ],
)
async def test_the_command_refuses_what_it_does_not_understand(
    options: tuple[str, ...], said: str, database: Database
) -> None:
    done = await run_cli("prune", *options, database_url=database.dsn)
    assert (done.code, done.out) == (2, "")
    assert said in done.err


# --- the worker's chore ---------------------------------------------------------------------------


async def test_a_worker_deletes_what_the_settings_say_and_two_take_turns(
    client: Client, database: Database, fill: Fill, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from grctl.client import Connection
    from grctl.worker import Worker

    monkeypatch.setattr("grctl.worker.retention.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("grctl.worker.retention.REST_SECONDS", 0.0)
    monkeypatch.setattr("grctl.worker.retention.ROUND_SECONDS", 0.0)  # a batch a round
    monkeypatch.setattr("grctl.postgres.retention.SCANNED_ROWS", 10)
    await fill(45, days=31)
    await fill(5, days=29)
    mine = settings.model_copy(update={"retention": "completed=30d"})
    async with (
        await Connection.connect(settings=mine) as connection,
        asyncio.TaskGroup() as group,
    ):
        workers = [Worker([silent], connection) for _ in range(2)]
        for worker in workers:
            group.create_task(worker.start())

        async def gone() -> bool:
            return (await counts(database))["runs"] == 5

        await wait_until(gone, "the old ones are deleted", timeout=30)
        # Those that have become old meanwhile go in a later round.
        await fill(3, days=35)
        await wait_until(gone, "these, too", timeout=30)
        for worker in workers:
            await worker.stop(shutdown_timeout=0)


async def test_a_worker_without_the_setting_deletes_nothing(
    client: Client, database: Database, fill: Fill, serve
) -> None:
    await fill(1, days=4000)
    before = await database.fetchval("select due_at from grctl.chores")
    await serve(silent)
    assert await database.fetchval("select due_at from grctl.chores") == before
    assert (await counts(database))["runs"] == 1
