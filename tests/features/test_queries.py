"""Queries: answered by any worker, from a snapshot of the store, and without any effect."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from grctl.client import Client
from grctl.errors import TaskError
from grctl.models.errors import WorkflowError, WorkflowNotFoundError
from tests.features.looking import count, has_status
from tests.support import Database, wait_until
from tests.support.ledger import Ledger


async def test_a_query_reads_what_the_last_finished_step_left(
    client: Client, serve: Any, book: Ledger
) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a")
    await handle.send("put", "x")
    await handle.send("put_slowly", "y")
    await wait_until(lambda: book.count("at gate", key="y"), "the second handler runs")
    assert await handle.query("got") == ["x"]
    book.open_gate("y")
    await handle.send("finish")
    await handle.result(timeout=10)

    assert await handle.query("got") == ["x", "y"]  # of an ended run, too


async def test_arguments_and_answers_are_typed(client: Client, serve: Any) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a")

    assert (await handle.query("sum_with", 1))["sum"] == 11
    assert (await handle.query("sum_with", 1, 2))["sum"] == 3
    answer = await handle.query("sum_with", 1, 2, return_type=dict[str, str | int])
    assert answer["wf_id"] == "a"
    with pytest.raises(Exception, match="first"):
        await handle.query("sum_with")
    with pytest.raises(Exception, match="many"):
        await handle.query("sum_with", "many")
    with pytest.raises(TypeError):
        await handle.query("sum_with", 1, 2, 3)


@pytest.mark.parametrize(
    ("what", "error"),
    [("value", ValueError), ("timeout", TimeoutError), ("cancelled", TaskError)],
)
async def test_what_a_handler_raises_is_raised_at_the_asker(
    client: Client, serve: Any, what: str, error: type[BaseException]
) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a")

    with pytest.raises(error, match="the handler's own"):
        await handle.query("raises", what)
    assert await handle.query("got") == []  # the worker goes on


@pytest.mark.parametrize("name", ["writes", "deletes", "acts"])
async def test_a_query_cannot_write(
    database: Database, client: Client, serve: Any, name: str
) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a")
    await handle.send("put", "x")
    await has_status(database, "a", "waiting")
    events = await count(database, "events")

    with pytest.raises(RuntimeError, match="is not for a query"):
        await handle.query(name)
    assert await handle.query("got") == ["x"]
    assert await count(database, "events") == events
    assert await count(database, "queries") == 0


async def test_a_query_that_nobody_registered_is_refused_at_once(
    client: Client, serve: Any
) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a")

    with pytest.raises(WorkflowError, match=r"no query 'nonsense'.*got"):
        await handle.query("nonsense")


async def test_an_unanswered_query_says_why(client: Client, serve: Any, book: Ledger) -> None:
    worker = await serve()
    handle = await client.start_workflow("features.box", "a")
    with pytest.raises(TimeoutError, match=r"1 worker serves 'features\.box'"):
        await handle.query("slow", "gate", timeout=0.3)
    book.open_gate("gate")
    await worker.stop()

    with pytest.raises(TimeoutError, match=r"no worker that serves 'features\.box' is up"):
        await handle.query("got", timeout=0.3)


async def test_a_question_that_a_crash_of_the_server_has_wiped_away_is_asked_again(
    database: Database, client: Client, serve: Any, book: Ledger
) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a")
    asking = asyncio.create_task(handle.query("slow", "gate", timeout=30))
    await wait_until(lambda: book.count("at gate"), "a worker has taken it")
    await database.execute("truncate grctl.queries")  # as recovery does: the table is unlogged
    book.open_gate("gate")

    assert await asking == "gate"
    assert book.count("at gate") == 2


async def test_a_slow_query_holds_up_no_other(client: Client, serve: Any, book: Ledger) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a")
    slow = asyncio.create_task(handle.query("slow", "gate"))
    await wait_until(lambda: book.count("at gate"), "the slow one runs")

    assert await handle.query("got", timeout=30) == []
    book.open_gate("gate")
    assert await slow == "gate"


async def test_many_queries_at_once_are_all_answered_by_two_workers(
    database: Database, client: Client, serve: Any
) -> None:
    await serve()
    await serve()
    handle = await client.start_workflow("features.box", "a")
    answers = await asyncio.gather(*(handle.query("sum_with", n, 0) for n in range(100)))

    assert [answer["sum"] for answer in answers] == list(range(100))
    assert await count(database, "queries") == 0


async def test_any_worker_of_the_type_answers_not_only_the_one_that_has_the_run(
    client: Client, launch: Any, serve: Any, book: Ledger
) -> None:
    holder = await launch(lease=60)
    handle = await client.start_workflow("features.box", "a", {"gate": "first"})
    await wait_until(lambda: book.count("at gate"), "the other process holds the run")
    await serve()
    holder.stop()

    assert await handle.query("got", timeout=10) == []
    holder.cont()


async def test_a_query_of_a_run_that_was_deleted_says_so(
    database: Database, client: Client, serve: Any
) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a")
    await handle.send("finish")
    await handle.result(timeout=30)
    await database.execute("delete from grctl.runs")

    with pytest.raises(WorkflowNotFoundError, match="it was deleted"):
        await handle.query("got")
