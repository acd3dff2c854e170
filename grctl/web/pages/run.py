"""The page of one run: why it stands where it stands, its timeline, and all that it holds."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID

import asyncpg
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from grctl.client.outcomes import read_error
from grctl.models.history import HistoryEvent
from grctl.models.run import RunStatus
from grctl.postgres.why import explain
from grctl.web.events import fields_of
from grctl.web.pages.acting import SAID, actions_of
from grctl.web.site import Site, site_of
from grctl.web.timeline.picture import Picture, draw
from grctl.web.timeline.telling import tell

__all__ = ["found_run", "mark", "show", "show_event", "value"]

SHOWN = 20_000
"""Characters of a value on the page; the whole of it is behind a link."""
CHILDREN = 100
GRANDCHILDREN = 5
OTHERS = 12
MESSAGES = 50
KEYS = 100
ACTS = 20
EVENTS = 100
"""Events of a page of the history."""


@dataclass(frozen=True, slots=True)
class Value:
    """A recorded value: its JSON text, or the beginning of it."""

    text: str
    length: int
    link: str

    @property
    def is_cut(self) -> bool:
        """Whether there is more of it."""
        return self.length > len(self.text)


@dataclass(frozen=True, slots=True)
class Told:
    """A run's history, drawn, and a page of it in words."""

    picture: Picture | None
    events: Sequence[HistoryEvent]
    page: int
    pages: int
    count: int
    step: str | None
    """The last step that began; None before the first."""


async def show(request: Request) -> Response:
    """The page. Its parts are read at once, each in a snapshot of its own."""
    site = site_of(request)
    row = await found_run(request)
    run_id: UUID = row["run_id"]
    database = site.database
    now, children, ancestors, others, inbox, store, acts, why = await asyncio.gather(
        database.fetchval("overview", "now"),
        database.fetch("particulars", "children", run_id, CHILDREN + 1),
        database.fetch("particulars", "ancestors", run_id),
        database.fetch("particulars", "others", row["wf_id"], OTHERS + 1),
        database.fetch("particulars", "inbox", run_id, SHOWN, MESSAGES + 1),
        database.fetch("particulars", "store", run_id, SHOWN, KEYS + 1),
        database.fetch("audit", "of_run", run_id, ACTS),
        explain(database, row["wf_id"], run_id, ask=True),
    )
    told = await _tell(site, request, row, children, now)
    error, failed_step = read_error(row["error"])
    status = RunStatus(row["status"])
    return site.page(
        request,
        "run.html",
        run=row,
        status=status,
        now=now,
        told=told,
        why=why,
        error=error,
        failed_step=failed_step,
        input=_value(row, "input"),
        result=_value(row, "result"),
        children=children[:CHILDREN],
        more_children=len(children) > CHILDREN,
        grandchildren=await _grandchildren(site, children[:CHILDREN]),
        ancestors=ancestors,
        others=[each for each in others if each["run_id"] != run_id],
        inbox=[_piece(each, run_id, "inbox", each["no"], "payload") for each in inbox[:MESSAGES]],
        messages=inbox[:MESSAGES],
        more_messages=len(inbox) > MESSAGES,
        store=[_piece(each, run_id, "store", each["key"], "value") for each in store[:KEYS]],
        keys=store[:KEYS],
        more_keys=len(store) > KEYS,
        acts=acts,
        actions=actions_of(status),
        said=SAID.get(request.query_params.get("said", ""), ""),
        mark=_mark_of(await database.fetch("history", "mark", run_id), len(inbox), children),
    )


async def mark(request: Request) -> Response:
    """A short text that changes when the page would: for the script that renews it."""
    site = site_of(request)
    row = await found_run(request)
    run_id = row["run_id"]
    inbox = await site.database.fetch("particulars", "inbox", run_id, 0, MESSAGES + 1)
    children = await site.database.fetch("particulars", "children", run_id, CHILDREN + 1)
    rows = await site.database.fetch("history", "mark", run_id)
    return JSONResponse(
        {
            "mark": _mark_of(rows, len(inbox), children),
            "open": RunStatus(row["status"]).is_open,
        }
    )


async def show_event(request: Request) -> Response:
    """One event of the history with all that it says."""
    site = site_of(request)
    row = await found_run(request)
    seq = request.path_params["seq"]
    events = await site.client.get_history(row["wf_id"], row["run_id"])
    if not 1 <= seq <= len(events):
        raise HTTPException(404, f"The run has no event {seq}.")
    event = events[seq - 1]
    return site.page(
        request, "event.html", run=row, event=event, parts=fields_of(event), count=len(events)
    )


async def value(request: Request) -> Response:
    """One recorded value as plain text, in full: ``of`` is input, result, error, store or inbox."""
    site = site_of(request)
    row = await found_run(request)
    of, key = request.query_params.get("of", ""), request.query_params.get("key", "")
    text: str | None = None
    if of in ("input", "result", "error"):
        text = row[of]
    elif of == "store":
        text = await site.database.fetchval("particulars", "stored", row["run_id"], key)
    elif of == "inbox" and key.isdecimal() and len(key) < 10:
        text = await site.database.fetchval("particulars", "sent", row["run_id"], int(key))
    if text is None:
        raise HTTPException(404, "The run has no such value.")
    # As text, never as what it may look like; the browser is told not to guess (nosniff).
    return PlainTextResponse(text)


async def found_run(request: Request) -> asyncpg.Record:
    """The row of the run that the address names; 404 if there is none."""
    run_id = request.path_params["run_id"]
    rows = await site_of(request).database.fetch("runs", "describe", run_id)
    if not rows:
        raise HTTPException(404, f"There is no run {run_id}. It may have been deleted.")
    return rows[0]


async def _tell(
    site: Site, request: Request, row: asyncpg.Record, children: Sequence[Any], now: datetime
) -> Told:
    events = await site.client.get_history(row["wf_id"], row["run_id"])
    ends = {str(each["run_id"]): (each["status"], each["ended_at"]) for each in children}
    is_open = RunStatus(row["status"]).is_open
    given = request.query_params
    # A long history takes a while to be told: the loop goes on meanwhile.
    parts = await asyncio.to_thread(tell, events, ends)
    picture = draw(
        parts,
        now,
        is_open=is_open,
        opened=_number(given.get("part")),
        page=_number(given.get("page")),
    )
    pages = max(1, -(-len(events) // EVENTS))
    page = min(max(1, _number(given.get("events")) or pages), pages)
    shown = events[(page - 1) * EVENTS : page * EVENTS]
    step = next((event.step_name for event in reversed(events) if event.step_name), None)
    return Told(picture, shown, page, pages, len(events), step)


async def _grandchildren(site: Site, children: Sequence[Any]) -> dict[UUID, list[Any]]:
    if not children:
        return {}
    ids = [each["run_id"] for each in children]
    below: dict[UUID, list[Any]] = {}
    for each in await site.database.fetch("particulars", "grandchildren", ids, GRANDCHILDREN + 1):
        below.setdefault(each["parent_run_id"], []).append(each)
    return below


def _value(row: asyncpg.Record, name: str) -> Value | None:
    text = row[name]
    if text is None:
        return None
    return Value(text[:SHOWN], len(text), f"/runs/{row['run_id']}/value?of={name}")


def _piece(row: asyncpg.Record, run_id: UUID, of: str, key: Any, name: str) -> Value | None:
    if row[name] is None:
        return None
    link = f"/runs/{run_id}/value?of={of}&key={quote(str(key), safe='')}"
    return Value(row[name], row["length"], link)


def _mark_of(rows: Sequence[asyncpg.Record], messages: int, children: Sequence[Any]) -> str:
    told = [*(tuple(row) for row in rows), messages, [each["status"] for each in children]]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < 8 else None
