"""The list of runs: filters, and pages that cost the same however far back they go."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from grctl.client.page import cursor_of, read_cursor, read_statuses
from grctl.postgres.search import Found, RunSearch, search
from grctl.web.site import site_of

__all__ = ["show"]

ROWS = 50
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_AGO: Final = re.compile(r"(\d{1,6})\s*([smhd])")
_FIELDS: Final = ("type", "id", "text", "since", "until")


async def show(request: Request) -> Response:
    """The runs that the address asks for; the run itself, where it names one by its run id."""
    site, given = site_of(request), request.query_params
    wanted_id = given.get("id", "").strip()
    if (run_id := _as_uuid(wanted_id)) is not None and await site.database.fetch(
        "runs", "describe", run_id
    ):
        return RedirectResponse(f"/runs/{run_id}", 303)
    now: datetime = await site.database.fetchval("overview", "now")
    problem, found = "", Found([])
    try:
        wanted = _wanted(given, now)
        found = await search(site.database, wanted, ROWS)
    except ValueError as error:
        problem = str(error)
    types = await site.database.fetch("types", "list")
    return site.page(
        request,
        "runs.html",
        422 if problem else 200,
        found=found,
        rest=None if found.rest is None else _address(given, before=cursor_of(found.rest)),
        first=_address(given) if given.get("before") else None,
        given={name: given.get(name, "") for name in _FIELDS},
        chosen=given.getlist("status"),
        is_filtered=any(given.get(name) for name in (*_FIELDS, "status")),
        types=[row["type"] for row in types],
        problem=problem,
        now=now,
    )


def _wanted(given: QueryParams, now: datetime) -> RunSearch:
    """The search. ValueError says which field is not as it should be."""
    statuses = [status for status in given.getlist("status") if status]
    wanted = RunSearch(
        wf_type=given.get("type") or None,
        statuses=read_statuses(statuses) if statuses else None,
        since=_moment(given.get("since", ""), now, "from"),
        until=_moment(given.get("until", ""), now, "until"),
        text=given.get("text", "").strip() or None,
        before=read_cursor(given.get("before") or None),
    )
    wf_id = given.get("id", "").strip()
    if wf_id.endswith("*"):
        return replace(wanted, id_prefix=wf_id[:-1])
    return replace(wanted, wf_id=wf_id or None)


def _moment(text: str, now: datetime, what: str) -> datetime | None:
    """A time, or how long ago; one without a zone is UTC, as all that is shown."""
    if not text.strip():
        return None
    ago = _AGO.fullmatch(text.strip())
    try:
        if ago is not None:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        moment = datetime.fromisoformat(text.strip())
    except (ValueError, OverflowError):
        raise ValueError(
            f"“{what}” takes 30s, 15m, 2h, 7d (ago), or a time such as 2026-05-01 12:00; "
            f"not {text!r:.60}"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _address(given: QueryParams, **more: str) -> str:
    pairs = [(k, v) for k, v in given.multi_items() if v and k != "before"]
    return f"/runs?{urlencode([*pairs, *more.items()])}"


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
