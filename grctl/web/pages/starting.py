"""To start a run, of any registered type; also one with the input of another."""

from __future__ import annotations

import secrets
from datetime import timedelta
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from grctl.errors import GrctlError
from grctl.postgres.audit import Act, audited
from grctl.web.forms import Form, read_form
from grctl.web.json_text import parse, pretty
from grctl.web.pages.acting import REFUSALS, actor_of, problem_of
from grctl.web.site import Site, site_of

__all__ = ["show", "start"]


async def show(request: Request) -> Response:
    """The form; ``copy`` names a run whose type and input it begins with."""
    site = _writable(request)
    form = Form(type=request.query_params.get("type", ""))
    if copied := request.query_params.get("copy"):
        form |= await _copy(site, copied)
    return await _page(request, Form(form))


async def start(request: Request) -> Response:
    """Start it; then its page."""
    site = _writable(request)
    form = await read_form(request)
    wf_id = form["id"].strip() or f"{form['type']}-{secrets.token_hex(4)}"
    details = {"type": form["type"], "input": form["input"], "timeout": form["timeout"]}
    act = Act(*actor_of(request), "start", wf_id, None, details)
    try:
        if not form["type"]:
            raise ValueError("choose a type")
        timeout = _seconds(form["timeout"])
        text = form["input"].strip()
        value = parse(text, "The input") if text else None
        if "\0" in wf_id:
            raise ValueError("a workflow id has no NUL characters")
        async with audited(site.database, act):
            handle = await site.client.start_workflow(form["type"], wf_id, value, timeout)
            act.run_id = handle.run_id
    except (GrctlError, ValueError, *REFUSALS) as error:
        return await _page(request, form, problem_of(error) or "")
    return RedirectResponse(f"/runs/{handle.run_id}?said=start", 303)


def _writable(request: Request) -> Site:
    site = site_of(request)
    if site.settings.dashboard_read_only:
        raise HTTPException(403, "This dashboard only shows: GRCTL_DASHBOARD_READ_ONLY is set.")
    return site


async def _copy(site: Site, text: str) -> dict[str, str]:
    try:
        rows = await site.database.fetch("runs", "describe", UUID(text))
    except ValueError:
        return {}
    return {"type": rows[0]["wf_type"], "input": pretty(rows[0]["input"])} if rows else {}


async def _page(request: Request, form: Form, problem: str = "") -> Response:
    site = site_of(request)
    types = [row["type"] for row in await site.database.fetch("types", "list")]
    return site.page(
        request, "start.html", 409 if problem else 200, types=types, form=form, problem=problem
    )


def _seconds(text: str) -> timedelta | None:
    if not text.strip():
        return None
    try:
        return timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        raise ValueError(f"the timeout is a number of seconds, not {text!r:.40}") from None
