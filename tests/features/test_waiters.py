"""Waiting on results: thousands over one connection, none missed, none left behind."""

from __future__ import annotations

import asyncio
import gc
import secrets
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from grctl.client import Client, Connection, WorkflowHandle
from grctl.models.errors import WorkflowError
from grctl.settings import Settings
from grctl.worker import Context, Worker
from grctl.workflow import Directive, Workflow
from tests.features.looking import has_status
from tests.support import Database, wait_until
from tests.support.ledger import Ledger
from tests.support.proxy import proxied
from tests.workflows import features

second_chance = Workflow("waiters.second_chance")


@second_chance.start()
async def take_it(ctx: Context) -> Directive:
    if not features.book().count("chance"):
        raise ValueError("no chance")
    return ctx.next.complete("lucky")


async def start_many(client: Client, number: int) -> list[WorkflowHandle]:
    handles: list[WorkflowHandle] = []
    for first in range(0, number, 1000):
        made = await client.start_workflows(
            [
                {"type": "features.child", "id": f"c{n}", "input": {"value": n}}
                for n in range(first, min(number, first + 1000))
            ]
        )
        handles += [each for each in made if isinstance(each, WorkflowHandle)]
    return handles


async def listeners(database: Database) -> int:
    found: int = await database.fetchval(
        "select count(*) from pg_stat_activity "
        "where datname = current_database() and query ilike 'listen%'"
    )
    return found


async def test_five_thousand_futures_wait_over_one_connection(
    database: Database, client: Client, serve: Any
) -> None:
    worker = await serve()
    await worker.stop()
    handles = await start_many(client, 5000)
    futures = [handle.future for handle in handles]
    await client.connection.waiters.ready()
    assert await listeners(database) == 1
    connections = await database.fetchval(
        "select count(*) from pg_stat_activity where datname = current_database()"
    )
    assert connections <= 8
    await serve()

    assert await asyncio.wait_for(asyncio.gather(*futures), 60) == list(range(5000))
    assert not client.connection.waiters._futures


async def test_several_waiters_of_one_run_all_get_its_outcome(client: Client, serve: Any) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a")
    other = await client.get_workflow_handle("a")
    waiting = [asyncio.create_task(handle.result()) for _ in range(5)]
    waiting.append(asyncio.create_task(other.result(timeout=10)))
    await handle.send("finish")

    assert await asyncio.wait_for(asyncio.gather(*waiting, handle.future), 10) == [[]] * 7


async def test_a_waiter_after_the_end_gets_the_result_at_once(client: Client, serve: Any) -> None:
    worker = await serve()
    await client.run_workflow("features.child", "a", {"value": 3})
    with pytest.raises(WorkflowError):
        await client.run_workflow("features.child", "b", {"how": "raise"})
    await worker.stop()

    assert await (await client.get_workflow_handle("a")).result(timeout=30) == 3
    with pytest.raises(WorkflowError, match="ValueError: child 0"):
        await (await client.get_workflow_handle("b")).future


async def test_without_notifications_results_are_found_by_polling(
    settings: Settings, serve: Any
) -> None:
    await serve()
    deaf = settings.model_copy(update={"listen_url": "postgresql://127.0.0.1:1/nowhere"})
    async with await Connection.connect(settings=deaf) as connection:
        client = Client(connection)
        handle = await client.start_workflow("features.box", "a")
        future = handle.future
        assert await handle.update("add", 2, timeout=10) == 2
        assert await handle.query("got", timeout=10) == []
        await handle.send("finish")

        assert await asyncio.wait_for(future, 10) == []


async def test_a_worker_tells_waiters_of_its_own_connection_by_itself(
    settings: Settings, serve: Any
) -> None:
    await (await serve()).stop()  # the types are registered
    deaf = {"listen_url": "postgresql://127.0.0.1:1/nowhere", "poll_seconds": 300}
    async with await Connection.connect(settings=settings.model_copy(update=deaf)) as connection:
        client = Client(connection)
        good = await client.start_workflow("features.child", "good", {"value": 3})
        bad = await client.start_workflow("features.child", "bad", {"how": "raise"})
        futures = [good.future, bad.future]
        worker = Worker([features.child], connection)
        working = asyncio.create_task(worker.start())

        three, error = await asyncio.wait_for(asyncio.gather(*futures, return_exceptions=True), 30)
        assert three == 3
        assert isinstance(error, WorkflowError)
        await worker.stop()
        await working


async def test_a_run_that_is_terminated_while_a_worker_here_has_it_is_heard_of(
    settings: Settings, book: Ledger
) -> None:
    unpolled = settings.model_copy(update={"poll_seconds": 300})
    async with await Connection.connect(settings=unpolled) as connection:
        client = Client(connection)
        worker = Worker([features.sleeper], connection)
        working = asyncio.create_task(worker.start())
        await worker.wait_until_ready()
        handle = await client.start_workflow("features.sleeper", "a", {"how": "gate"})
        future = handle.future
        await wait_until(lambda: book.count("at gate"), "the step runs")
        await handle.terminate("no more")

        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(future, 30)
        await worker.stop()
        await working
        assert not connection.waiters._held


async def test_a_look_begun_before_a_retry_says_nothing_to_who_waits_after_it(
    database: Database, client: Client, settings: Settings, serve: Any, book: Ledger
) -> None:
    await serve(second_chance)
    failed = await client.start_workflow("waiters.second_chance", "a")
    await has_status(database, "a", "failed")
    async with (
        proxied(database.dsn) as proxy,
        await Connection.connect(proxy.url, settings=settings) as far,
    ):
        handle = await Client(far).get_workflow_handle("a")
        proxy.holds_answer_to = far.database.sql("runs", "outcomes")
        early = handle.future
        await asyncio.wait_for(proxy.is_holding.wait(), 10)
        book.note("chance", "a", "1")
        await failed.retry()
        late = (await Client(far).get_workflow_handle("a")).future
        proxy.lets_go.set()

        with pytest.raises(WorkflowError, match="no chance"):
            await asyncio.wait_for(early, 10)
        assert await asyncio.wait_for(late, 10) == "lucky"


async def test_a_worker_late_to_hear_of_its_own_commit_says_nothing_to_who_waits_since_a_retry(
    database: Database, client: Client, settings: Settings, serve: Any, book: Ledger
) -> None:
    """The run was retried meanwhile, by a client in another process."""
    await (await serve(second_chance)).stop()  # the type is registered
    elsewhere = await client.start_workflow("waiters.second_chance", "a")
    async with (
        proxied(database.dsn) as proxy,
        await Connection.connect(proxy.url, settings=settings) as far,
    ):
        early = (await Client(far).get_workflow_handle("a")).future
        proxy.holds_answer_to = far.database.sql("journal", "commit")
        worker = Worker([second_chance], far)
        working = asyncio.create_task(worker.start())
        await has_status(database, "a", "failed")
        book.note("chance", "a", "1")
        await elsewhere.retry()
        late = (await Client(far).get_workflow_handle("a")).future
        proxy.lets_go.set()

        with pytest.raises(WorkflowError, match="no chance"):
            await asyncio.wait_for(early, 10)
        assert await asyncio.wait_for(late, 10) == "lucky"
        await worker.stop()
        await working


async def test_a_notification_lost_with_its_connection_is_made_up_for(
    database: Database, client: Client, serve: Any, book: Ledger
) -> None:
    await serve()
    handle = await client.start_workflow("features.sleeper", "a", {"how": "gate"})
    future = handle.future
    await client.connection.waiters.ready()
    await wait_until(lambda: book.count("at gate"), "the step runs")
    await database.fetch(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and query ilike 'listen%'"
    )
    book.open_gate("a")

    assert await asyncio.wait_for(future, 15) == "woken"


async def test_a_future_that_is_let_go_of_leaves_nothing_behind(
    client: Client, serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await serve()
    handle = await client.start_workflow("features.box", "a")
    before = asyncio.all_tasks()
    first = handle.future
    await first.stop()
    second = handle.future  # made anew
    assert second is not first
    second.discard()
    with pytest.raises(asyncio.CancelledError):
        await second
    with pytest.raises(TimeoutError, match=r"has not ended within 0\.05 s; it goes on"):
        await handle.result(timeout=0.05)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(handle.future, 0.05)
    assert not client.connection.waiters._futures
    assert len(asyncio.all_tasks() - before) <= 2  # those of the waiters, one for all
    await client.connection.close()
    with pytest.raises(RuntimeError, match="closed"):
        _ = handle.future
    assert not asyncio.all_tasks() - before

    del first, second
    gc.collect()
    assert not [r for r in caplog.records if r.name == "asyncio"]


async def test_a_connection_that_is_closed_is_not_taken_for_a_cancelled_run(
    client: Client, serve: Any, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    await serve()
    await client.start_workflow("features.box", "a")
    connection = await Connection.connect(settings=settings)
    handle = await Client(connection).get_workflow_handle("a")
    future = handle.future  # nobody awaits it
    waiting = asyncio.create_task(handle.result())
    both = connection.waiters._futures[handle.run_id]
    await wait_until(lambda those=both: len(those) == 2, "both wait")
    await connection.close()

    with pytest.raises(RuntimeError, match=r"closed before run .* had ended: it goes on"):
        await waiting
    assert future.done()
    del future, handle, waiting, both
    gc.collect()
    assert not [r for r in caplog.records if r.name == "asyncio"]
    assert (await client.describe("a")).status.is_open


async def test_a_failure_that_nobody_awaits_leaves_no_warning(
    database: Database, client: Client, serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    await serve()
    handle = await client.start_workflow("features.child", "a", {"how": "raise"})
    future = handle.future
    await has_status(database, "a", "failed")
    await wait_until(future.done, "the future is settled")
    del future, handle
    gc.collect()

    assert not [r for r in caplog.records if r.name == "asyncio"]


async def test_a_result_that_does_not_fit_its_return_type_says_so(
    client: Client, serve: Any
) -> None:
    await serve()
    handle = await client.start_workflow("features.child", "a", {"value": 3}, return_type=list[str])

    with pytest.raises(ValueError):
        await handle.result(timeout=10)
    assert await handle.result(timeout=10, return_type=float) == 3.0


async def test_whoever_waits_outlives_a_refusal_of_the_database(
    database: Database, client: Client, serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await serve()
    await worker.stop()
    handle = await client.start_workflow("features.box", "a")
    future = handle.future
    await client.connection.waiters.ready()
    await database.execute("alter table grctl.runs rename to gone")  # as without the right to read
    await wait_until(
        lambda: any("reading results" in r.getMessage() for r in caplog.records),
        "the read was refused",
        timeout=30,
    )
    await database.execute("alter table grctl.gone rename to runs")
    await handle.terminate()

    with pytest.raises(asyncio.CancelledError, match="terminated"):
        await asyncio.wait_for(future, 30)


async def test_results_are_listened_for_again_when_the_server_refused_it(
    database: Database, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    role, secret = f"listener_{secrets.token_hex(4)}", secrets.token_hex(8)
    parts = urlsplit(database.dsn)
    place = parts.netloc.rpartition("@")[2]
    url = urlunsplit(parts._replace(netloc=f"{role}:{secret}@{place}"))
    refused = settings.model_copy(update={"listen_url": url})
    async with await Connection.connect(settings=refused) as connection:
        waiting = asyncio.create_task(connection.waiters.ready())
        await wait_until(
            lambda: any("doing=listening" in r.getMessage() for r in caplog.records),
            "the refusal is told",
            timeout=30,
        )
        await database.execute(f"create role {role} login password '{secret}'")
        try:
            await wait_until(lambda: listeners_of(database, role), "it listens", timeout=30)
        finally:
            await waiting
            await connection.close()
            await database.execute(f"drop role {role}")


async def listeners_of(database: Database, role: str) -> int:
    found: int = await database.fetchval(
        "select count(*) from pg_stat_activity where usename = $1 and query ilike 'listen%'", role
    )
    return found
