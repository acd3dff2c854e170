"""Queries and updates: questions to a run that its workflow's code answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from grctl.engine.exceptions import details_from_json, restore
from grctl.errors import WorkflowError

if TYPE_CHECKING:
    from grctl.client.client import Client
    from grctl.models.run import RunInfo

__all__ = ["query", "update"]


async def query(
    client: Client,
    run: RunInfo,
    name: str,
    args: tuple[Any, ...],
    timeout: float,
    return_type: Any,
) -> Any:
    """Ask a query handler, on any worker of the run's type."""
    database = client.database
    await _check_name(client, run, "query", name)
    query_id = uuid4()
    text = client.codec.encode(list(args), what=f"arguments of query {name!r}") if args else None
    await client.connection.waiters.ready()
    answered = client.connection.waiters.answer_of(query_id)
    try:
        await database.fetch("queries", "ask", query_id, run.id, run.wf_type, name, text, timeout)
        async with asyncio.timeout(timeout):
            while True:
                rows = await database.fetch("queries", "read", query_id)
                row = next((r for r in rows if r["query_id"] == query_id), None)
                if row is not None:
                    return _answer(client, row["answer"], row["error"], return_type)
                await answered.wait_or_poll()
    except TimeoutError as error:
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
    database = client.database
    text = None if payload is None else client.codec.encode(payload, what=f"update {name!r}")
    message_id = uuid4()
    await client.connection.waiters.ready()
    answered = client.connection.waiters.answer_of(message_id)
    try:
        sent = (await database.fetch("inbox", "send", run.id, "update", name, text, message_id))[0]
        if not sent["delivered"]:
            raise await _undelivered(client, run, "update", name, bool(sent["open"]))
        async with asyncio.timeout(timeout):
            while True:
                row = (await database.fetch("inbox", "answer", run.id, message_id))[0]
                if row["answered"]:
                    return _answer(client, row["answer"], row["error"], return_type)
                if row["ended"]:
                    raise WorkflowError(
                        f"workflow {run.wf_id!r} ended before it handled update {name!r}"
                    )
                await answered.wait_or_poll()
    except TimeoutError as error:
        raise TimeoutError(
            f"update {name!r} of workflow {run.wf_id!r} was not answered within {timeout} s; it "
            "stays in the run's inbox and is handled when the run waits for events: "
            + await _who_serves(client, run.wf_type)
        ) from error
    finally:
        answered.discard()


def _answer(client: Client, answer: str | None, error: str | None, return_type: Any) -> Any:
    if error is not None:
        raise restore(details_from_json(error))
    decode = client.codec.decode
    text = answer or "null"
    return decode(text) if return_type is None else decode(text, return_type)


async def _check_name(client: Client, run: RunInfo, what: str, name: str) -> None:
    rows = await client.database.fetch("queries", "names", run.wf_type)
    known = rows[0][f"{what}_names"] if rows else []
    if name not in known:
        raise unknown_name(run, what, name, known)


async def _undelivered(
    client: Client, run: RunInfo, what: str, name: str, is_open: bool
) -> WorkflowError:
    if not is_open:
        return WorkflowError(f"workflow {run.wf_id!r} has ended and takes no {what}s")
    rows = await client.database.fetch("queries", "names", run.wf_type)
    return unknown_name(run, what, name, rows[0][f"{what}_names"] if rows else [])


def unknown_name(run: RunInfo, what: str, name: str, known: list[str]) -> WorkflowError:
    """The error for a name that no worker has registered."""
    return WorkflowError(
        f"workflow {run.wf_type!r} handles no {what} {name!r}; registered are "
        + (", ".join(known) or "none")
    )


async def _who_serves(client: Client, wf_type: str) -> str:
    count = await client.database.fetchval("queries", "serving", wf_type)
    if not count:
        return f"no worker that serves {wf_type!r} is up"
    return f"{count} worker(s) serve {wf_type!r}, but none has come to it: is the handler slow?"
