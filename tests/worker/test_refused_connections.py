"""That the server refuses or ends a connection says nothing of what was to be sent over it."""

from __future__ import annotations

import asyncio
import functools
import secrets
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from grctl.client import Client, Connection
from grctl.settings import Settings
from grctl.worker import Context, task
from grctl.workflow import Directive, Workflow
from tests.support import Database, wait_until


@pytest.fixture
async def role(database: Database) -> AsyncIterator[str]:
    """A role of the test's own; its password is its name."""
    name = f"grctl_test_{secrets.token_hex(6)}"
    await database.execute(f"create role {name} superuser login password '{name}'")
    yield name
    await database.execute(f"drop role {name}")


@pytest.fixture
def theirs(settings: Settings, role: str) -> dict[str, Any]:
    """What is to be changed in the settings for who connects as the role."""
    url = urlsplit(settings.require_database_url())
    place = url.netloc.rpartition("@")[2]
    dsn = url._replace(netloc=f"{role}:{role}@{place}").geturl()
    return {"database_url": dsn, "lease_seconds": 60.0}


@pytest.fixture
def gate() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def workflow(gate: asyncio.Event) -> Workflow:
    """One task, which waits for the gate."""
    made = Workflow("gated")

    @task
    async def work() -> str:
        await gate.wait()
        return "done"

    @made.start()
    async def start(ctx: Context) -> Directive:
        return ctx.next.complete(await work())

    return made


async def test_a_worker_that_is_not_let_in_for_a_while_fails_no_run(
    database: Database,
    client: Client,
    serve: Any,
    workflow: Workflow,
    gate: asyncio.Event,
    role: str,
    theirs: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = await serve(workflow, changed=theirs)
    handle = await client.start_workflow("gated", "a")
    await wait_until(lambda: worker.slots.executors, "the run is held", timeout=30)
    await shut_out(database, role, "grctl journal")
    gate.set()
    await wait_until(
        lambda: was_refused_at(caplog, "writing a batch"), "it was refused", timeout=30
    )
    await database.execute(f"alter role {role} login")

    assert await handle.result(timeout=30) == "done"
    await worker.stop(0)


async def test_who_waits_and_is_not_let_in_for_a_while_is_told_of_the_end_all_the_same(
    database: Database,
    settings: Settings,
    serve: Any,
    workflow: Workflow,
    gate: asyncio.Event,
    role: str,
    theirs: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    await serve(workflow)
    mine = settings.model_copy(update=theirs)
    async with await Connection.connect(settings=mine) as connection:
        handle = await Client(connection).start_workflow("gated", "a")
        waiting = asyncio.create_task(handle.result(timeout=60))
        await connection.waiters.ready()
        await shut_out(database, role)
        for what in ("listening", "reading results"):
            was_refused = functools.partial(was_refused_at, caplog, what)
            await wait_until(was_refused, f"{what} was refused", timeout=30)
        await database.execute(f"alter role {role} login")
        gate.set()

        assert await waiting == "done"


async def shut_out(database: Database, role: str, application: str = "grctl") -> None:
    """End the role's connections of these names, and let it make no other."""
    await database.execute(f"alter role {role} nologin")
    await database.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where usename = $1 and starts_with(application_name, $2)",
        role,
        application,
    )


def was_refused_at(caplog: pytest.LogCaptureFixture, what: str) -> bool:
    """Whether the log tells of a connection that was refused to who was at this."""
    lines = caplog.text.splitlines()
    return any(what in line and "is not permitted to log in" in line for line in lines)
