"""A database and a worker of a test's own, and a clock that can be moved.

    async def test_an_order_nobody_pays_is_dropped() -> None:
        async with Sandbox(order) as sandbox:
            handle = await sandbox.client.start_workflow("order", "order-7")
            await sandbox.until_waiting("order-7")
            await sandbox.advance(timedelta(days=30))
            assert await handle.result() == "dropped"

It is the real engine on a real PostgreSQL: what passes here was recorded, fenced and committed as
in production. The server is the embedded one of ``grctl[dev]``, which starts with the first sandbox
of the process and stops at its end, or the one in ``GRCTL_TEST_DATABASE_URL``.
"""

from __future__ import annotations

import asyncio
import functools
import os
import secrets
import tempfile
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncpg

from grctl.client import Client, Connection
from grctl.dev import EmbeddedPostgres
from grctl.errors import ConfigurationError, WorkflowError
from grctl.models import HistoryKind, RunStatus
from grctl.postgres import migrations
from grctl.settings import load_settings, mask_url, with_database
from grctl.worker import Worker
from grctl.workflow import Workflow

__all__ = ["Sandbox"]

SERVER_VARIABLE = "GRCTL_TEST_DATABASE_URL"

PARKED = frozenset({RunStatus.WAITING, RunStatus.DELAYED})

# Nothing here outlives the process.
_FAST = {"fsync": "off", "full_page_writes": "off"}


class Sandbox:
    """An async context manager: within it, a worker of ``workflows`` runs in this process.

    Args:
        workflows: what the worker serves.
        database_url: a server on which databases may be created; default: the variable
            ``GRCTL_TEST_DATABASE_URL``, else the embedded server.
        settings: any setting by its name, e.g. ``concurrency=1``.

    Raises:
        ConfigurationError: there is no server, or it cannot be reached.
    """

    client: Client
    """Starts and asks; its connection is the worker's, too."""

    def __init__(
        self, *workflows: Workflow, database_url: str | None = None, **settings: Any
    ) -> None:
        self._workflows = workflows
        self._server_url = database_url
        self._settings = {"poll_seconds": 0.2, "shutdown_seconds": 5.0, **settings}
        self._stack = AsyncExitStack()
        self._shift = timedelta()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            server = self._server_url or os.environ.get(SERVER_VARIABLE)
            if server:
                server = load_settings(database_url=server).require_database_url()
            else:
                server = await asyncio.to_thread(_embedded_server)
            self.database_url = await _own_database(server, stack)
            settings = load_settings(database_url=self.database_url, **self._settings)
            if "listen_url" not in self._settings:
                # A variable means the database of the environment, not the sandbox's own.
                settings = settings.model_copy(update={"listen_url": None})
            await migrations.upgrade(self.database_url, settings.db_schema)
            connection = await Connection.connect(settings=settings)
            await stack.enter_async_context(connection)
            await _serve(self._workflows, connection, stack)
            self.client = Client(connection)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def advance(self, by: timedelta) -> None:
        """Move the clock of everything durable: timers of waits, delays and runs come due.

        A ``ctx.sleep()`` that a step is in, a step's timeout and a task's backoff go by the
        worker's own clock, and are not moved.

        Raises:
            ValueError: ``by`` is negative.
        """
        if by < timedelta():
            raise ValueError(f"a clock is advanced, not turned back: by={by}")
        self._shift += by
        schema = self.client.database.schema
        async with self.client.database.pool.acquire() as conn, conn.transaction():
            await conn.execute(
                f"""
                create or replace function {schema}.now() returns timestamptz
                language sql stable parallel safe
                return now() + interval '{self._shift.total_seconds()} seconds'
                """
            )
            # Leases are no timers: the worker lives.
            await conn.execute(
                f"""
                update {schema}.workers
                set lease_until = lease_until + $1
                where ended_at is null
                """,
                by,
            )
            await conn.execute(f"select pg_notify('{schema}.wake', '*')")

    async def until_waiting(
        self, workflow_id: str, *, step: str | None = None, timeout: float = 30
    ) -> None:
        """Until the latest run of ``workflow_id`` is parked: waits for an event, or is delayed.

        Args:
            workflow_id: whose.
            step: the step that parked it; None: whichever.
            timeout: in seconds.

        Raises:
            TimeoutError: it is not, by then.
            WorkflowError: the run has ended.
            WorkflowNotFoundError: there is no such run.
        """
        found = "was not looked at yet"
        try:
            async with asyncio.timeout(timeout):
                while found := await self._why_not_parked(workflow_id, step):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
        except TimeoutError as error:
            place = "" if step is None else f" by step {step!r}"
            raise TimeoutError(
                f"workflow {workflow_id!r} was not parked{place} within {timeout:g} s: it {found}"
            ) from error

    async def _why_not_parked(self, workflow_id: str, step: str | None) -> str:
        """What the run does instead; empty if it is parked."""
        run = await self.client.describe(workflow_id)
        if run.status.is_ended:
            how = run.status.value if run.error is None else f"{run.status.value}: {run.error}"
            raise WorkflowError(
                f"workflow {workflow_id!r} waits for nothing: it has ended ({how})", run.error
            )
        if run.status not in PARKED:
            return f"is {run.status.value}, at step {run.step_name!r}"
        history = await self.client.get_history(workflow_id)
        steps = [each.step_name for each in history if each.kind == HistoryKind.STEP_COMPLETED]
        if step is None or steps[-1:] == [step]:
            return ""
        return f"is {run.status.value}, parked by step {steps[-1] if steps else None!r}"


@functools.cache
def _embedded_server() -> str:
    home = Path(tempfile.gettempdir()) / f"grctl-testing-{os.getpid()}"
    return EmbeddedPostgres(home, ephemeral=True, settings=_FAST).start()


async def _own_database(server: str, stack: AsyncExitStack) -> str:
    name = f"sandbox_{secrets.token_hex(6)}"
    try:
        await _execute(server, f"create database {name}")
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
        raise ConfigurationError(
            f"cannot create the sandbox's database on {mask_url(server)}: "
            f"{type(error).__name__}: {error}"
        ) from error
    stack.push_async_callback(_execute, server, f"drop database if exists {name} with (force)")
    return with_database(server, name)


async def _serve(
    workflows: tuple[Workflow, ...], connection: Connection, stack: AsyncExitStack
) -> None:
    worker = Worker(workflows, connection)
    working = asyncio.create_task(worker.start(), name="sandbox worker")

    async def stop() -> None:
        if not working.done():
            await worker.stop(shutdown_timeout=0)
        await working

    stack.push_async_callback(stop)
    try:
        await worker.wait_until_ready()
    except RuntimeError:
        await working  # raises what kept it from starting
        raise


async def _execute(url: str, sql: str) -> None:
    conn = await asyncpg.connect(url)
    try:
        await conn.execute(sql)
    finally:
        await conn.close()
