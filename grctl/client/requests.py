"""Queries and updates: questions to a run that its workflow's code answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from grctl.client.outcomes import RemoteTraceback
from grctl.counts import counted
from grctl.engine.exceptions import details_from_json, restore
from grctl.errors import WorkflowError, WorkflowNotFoundError
from grctl.models.directive import MAX_DELAY, check_seconds
from grctl.models.text import is_text

if TYPE_CHECKING:
    from grctl.client.client import Client
    from grctl.models.run import RunInfo

__all__ = ["deliver", "query", "update"]


async def query(
    client: Client,
    run: RunInfo,
    name: str,
    args: tuple[Any, ...],
    timeout: float,
    return_type: Any,
) -> Any:
    """Ask a query handler, on any worker of the run's type."""
    check_seconds(f"the timeout of query {name!r}", timeout)
    if timeout is None:
        raise TypeError(f"the timeout of query {name!r} must be a number of seconds, not None")
    database = client.database
    rows = await database.fetch("queries", "names", run.wf_type)
    if not rows or name not in rows[0]["query_names"]:
        raise await _unknown_name(client, run, "query", name)
    query_id = uuid4()
    text = client.codec.encode(list(args), what=f"arguments of query {name!r}") if args else None
    await client.connection.waiters.ready()
    answered = client.connection.waiters.answer_of(query_id)
    limit: asyncio.Timeout | None = None
    try:
        run_id = await database.fetchval("runs", "last", run.id)
        kept = min(timeout, MAX_DELAY.total_seconds())
        question = (query_id, run_id, run.wf_type, name, text, kept)
        await database.fetch("queries", "ask", *question)
        async with asyncio.timeout(timeout) as limit:
            while True:
                rows = await database.fetch("queries", "read", query_id)
                row = next((r for r in rows if r["query_id"] == query_id), None)
                if row is not None:
                    return _answer(client, row["answer"], row["error"], return_type)
                if not await answered.wait_or_poll():
                    # A crash of the server empties the table of questions.
                    await database.fetch("queries", "ask", *question)
    except TimeoutError as error:
        if limit is None or not limit.expired():  # the handler's own
            raise
        raise TimeoutError(
            f"query {name!r} of workflow {run.wf_id!r} was not answered within {timeout:g} s: "
            + await _who_serves(client, run.wf_type)
        ) from error
    finally:
        answered.discard()


async def update(
    client: Client,
    run: RunInfo,
    name: str,
    payload: Any,
    timeout: float | None,
    return_type: Any,
) -> Any:
    """Send an update and wait for its handler's answer."""
    check_seconds(f"the timeout of update {name!r}", timeout)  # before it is sent
    database = client.database
    text = None if payload is None else client.codec.encode(payload, what=f"update {name!r}")
    message_id = uuid4()
    await client.connection.waiters.ready()
    answered = client.connection.waiters.answer_of(message_id)
    limit: asyncio.Timeout | None = None
    try:
        await deliver(client, run, "update", name, text, message_id)
        async with asyncio.timeout(timeout) as limit:
            while True:
                rows = await database.fetch("inbox", "answer", run.id, message_id)
                if not rows:
                    raise WorkflowNotFoundError(
                        f"run {run.id} is no longer there: it was deleted, and with it the answer "
                        f"to update {name!r}, if it had one"
                    )
                row = rows[0]
                if row["answered"]:
                    return _answer(client, row["answer"], row["error"], return_type)
                if row["ended"]:
                    raise WorkflowError(
                        f"workflow {run.wf_id!r} ended before it handled update {name!r}"
                    )
                await answered.wait_or_poll()
    except TimeoutError as error:
        if limit is None or not limit.expired():  # the handler's own
            raise
        raise TimeoutError(
            f"update {name!r} of workflow {run.wf_id!r} was not answered within {timeout} s; it "
            "stays in the run's inbox and is handled when the run waits for events: "
            + await _who_serves(client, run.wf_type)
        ) from error
    finally:
        answered.discard()


def _answer(client: Client, answer: str | None, error: str | None, return_type: Any) -> Any:
    if error is not None:
        details = details_from_json(error)
        raise restore(details) from RemoteTraceback(details)
    decode = client.codec.decode
    text = answer or "null"
    return decode(text) if return_type is None else decode(text, return_type)


async def deliver(
    client: Client, run: RunInfo, what: str, name: str, text: str | None, message_id: UUID
) -> None:
    """Put an event or an update into a run's inbox; into its successor's, if it continued as new.

    WorkflowError if it has ended, or handles nothing so named.
    """
    if not is_text(name):
        raise await _unknown_name(client, run, what, name)
    database = client.database
    tracing = client.connection.tracing
    trace = None if tracing is None else tracing.traceparent()
    run_id = run.id
    while True:
        given = (run_id, what, name, text, message_id, trace)
        sent = (await database.fetch("inbox", "send", *given))[0]
        if sent["delivered"]:
            return
        if sent["open"] and not sent["known"]:
            raise await _unknown_name(client, run, what, name)
        last: UUID = await database.fetchval("runs", "last", run_id)
        if last == run_id:
            raise WorkflowError(f"workflow {run.wf_id!r} has ended and takes no {what}s")
        run_id = last


async def _unknown_name(client: Client, run: RunInfo, what: str, name: str) -> WorkflowError:
    rows = await client.database.fetch("queries", "names", run.wf_type)
    known = rows[0][f"{what}_names"] if rows else []
    return WorkflowError(
        f"workflow {run.wf_type!r} handles no {what} {name!r}; "
        + (f"registered are {', '.join(known)}" if known else "it has none")
    )


async def _who_serves(client: Client, wf_type: str) -> str:
    count = await client.database.fetchval("queries", "serving", wf_type)
    if not count:
        return f"no worker that serves {wf_type!r} is up"
    workers = counted(count, "worker serves", "workers serve")
    return f"{workers} {wf_type!r}, but none has come to it: is the handler slow?"
