"""What can be done to a run. Each act has a page that says what will happen and asks for it (GET),
and is done, and recorded with who did it, when that page is sent back (POST).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from grctl.client import WorkflowHandle
from grctl.client.outcomes import RemoteTraceback
from grctl.errors import GrctlError
from grctl.models.run import RunStatus
from grctl.postgres.audit import Act, audited
from grctl.web.forms import Form, read_form
from grctl.web.guard import visitor_of
from grctl.web.json_text import parse
from grctl.web.site import Site, site_of

__all__ = ["REFUSALS", "SAID", "Action", "act", "actions_of", "actor_of", "problem_of", "show"]

ANSWER_SECONDS = 10.0
LONGEST_REASON = 1_000
REFUSALS = (asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)
"""Of a role, or a standby, by which the dashboard can only show."""

Doing = Callable[[WorkflowHandle, Form], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Action:
    """Something that can be done to a run. ``consequence`` is what its page says of it.

    ``names``: the column of the type's names to choose from; ``has_payload`` and ``has_reason``:
    what else is asked for. ``gives``: it has an answer to show.
    """

    name: str
    title: str
    button: str
    consequence: str
    do: Doing
    names: str | None = None
    has_payload: bool = False
    has_reason: bool = False
    gives: bool = False
    is_grave: bool = False


async def _send(handle: WorkflowHandle, form: Form) -> None:
    await handle.send(form["name"], _payload(form))


async def _query(handle: WorkflowHandle, form: Form) -> Any:
    args = _payload(form)
    if args is None:
        args = []
    if not isinstance(args, list):
        raise ValueError('the arguments are a JSON list, such as [100, "EUR"]')  # noqa: TRY004 - of a form
    return await handle.query(form["name"], *args, timeout=ANSWER_SECONDS)


async def _update(handle: WorkflowHandle, form: Form) -> Any:
    return await handle.update(form["name"], _payload(form), timeout=ANSWER_SECONDS)


ACTIONS: Final[Mapping[str, Action]] = {
    action.name: action
    for action in (
        Action(
            "send", "Send an event", "Send",
            "The event goes into the run's inbox. It is not lost, and handled once, when the run "
            "waits for events.",
            _send, names="event_names", has_payload=True,
        ),
        Action(
            "query", "Ask a query", "Ask",
            "A worker answers from what the run has stored. Nothing is changed.",
            _query, names="query_names", has_payload=True, gives=True,
        ),
        Action(
            "update", "Send an update", "Send",
            "Its handler runs when the run waits for events, and answers. If the answer takes "
            f"longer than {ANSWER_SECONDS:.0f} s, the update stays in the inbox all the same.",
            _update, names="update_names", has_payload=True, gives=True,
        ),
        Action(
            "cancel", "Cancel the run", "Cancel the run",
            "A run that waits ends at once. One in a step ends when the step does, which may "
            "clean up first. What the step stores is kept.",
            lambda handle, form: handle.cancel(_reason(form)), has_reason=True, is_grave=True,
        ),
        Action(
            "terminate", "Terminate the run", "Terminate the run",
            "The run ends now, whatever it does. Nothing more of its step is recorded, and it "
            "cleans up nothing. Cancel is the gentle way.",
            lambda handle, form: handle.terminate(_reason(form)), has_reason=True, is_grave=True,
        ),
        Action(
            "retry", "Retry from the failed step", "Retry",
            "The run is opened again at the step that failed. Tasks of that step that were "
            "completed are not run again.",
            lambda handle, _form: handle.retry(),
        ),
    )
}  # fmt: skip

SAID: Final = {
    "send": "The event is in the run's inbox.",
    "cancel": "The cancel is recorded.",
    "terminate": "The run is terminated.",
    "retry": "The run is open again, at the step that failed.",
    "start": "The run is started.",
}
"""What the run's page says after each act."""


def actions_of(status: RunStatus) -> list[Action]:
    """What can be done to a run of this status."""
    if status.is_open:
        names = ["send", "update", "query", "cancel", "terminate"]
    elif status is RunStatus.FAILED:
        names = ["retry", "query"]
    else:
        names = ["query"]
    return [ACTIONS[name] for name in names]


async def show(request: Request) -> Response:
    """The page that asks for an act."""
    row, action = await _asked(request)
    form = Form(name=request.query_params.get("name", ""))
    return await _page(request, row, action, form)


async def act(request: Request) -> Response:
    """Do it. What is refused is said on the same page, with what was typed."""
    site = site_of(request)
    form = await read_form(request)
    row, action = await _asked(request)
    handle = site.client.handle_of(row["run_id"], row["wf_id"], row["wf_type"])
    details = {name: form[name] for name in ("name", "payload", "reason") if form[name]}
    recorded = Act(*actor_of(request), action.name, row["wf_id"], row["run_id"], details)
    try:
        async with audited(site.database, recorded):
            answer = await action.do(handle, form)
    except Exception as error:
        problem = problem_of(error)
        if problem is None:
            raise
        return await _page(request, row, action, form, problem)
    if not action.gives:
        return RedirectResponse(f"/runs/{row['run_id']}?said={action.name}", 303)
    return site.page(
        request, "answer.html", run=row, action=action, name=form["name"], answer=answer
    )


def actor_of(request: Request) -> tuple[str, str | None]:
    """Who acts, and from which address."""
    peer = request.client.host if request.client else None
    return visitor_of(request).user or "nobody", peer


def problem_of(error: Exception) -> str | None:
    """What is told of an error that is the visitor's business; None for a defect of ours."""
    if isinstance(error, REFUSALS):
        return f"The database refused it: {error}"
    if isinstance(error.__cause__, RemoteTraceback):
        return f"The handler raised {error.__cause__.summary}"
    if isinstance(error, GrctlError | ValueError | TimeoutError):
        return str(error) or type(error).__name__
    return None


async def _asked(request: Request) -> tuple[asyncpg.Record, Action]:
    site = site_of(request)
    action = ACTIONS.get(request.path_params["action"])
    if action is None:
        raise HTTPException(404, "There is no such page.")
    if site.settings.dashboard_read_only:
        raise HTTPException(403, "This dashboard only shows: GRCTL_DASHBOARD_READ_ONLY is set.")
    rows = await site.database.fetch("runs", "describe", request.path_params["run_id"])
    if not rows:
        raise HTTPException(404, "There is no such run. It may have been deleted.")
    return rows[0], action


async def _page(
    request: Request, row: asyncpg.Record, action: Action, form: Form, problem: str = ""
) -> Response:
    site = site_of(request)
    return site.page(
        request,
        "act.html",
        409 if problem else 200,
        run=row,
        status=RunStatus(row["status"]),
        action=action,
        can_be_done=action in actions_of(RunStatus(row["status"])),
        names=await _names(site, row, action),
        form=form,
        problem=problem,
    )


async def _names(site: Site, row: asyncpg.Record, action: Action) -> list[str]:
    if action.names is None:
        return []
    known = await site.database.fetch("particulars", "names", row["wf_type"])
    return sorted(known[0][action.names]) if known else []


def _payload(form: Form) -> Any:
    text = form["payload"].strip()
    return parse(text, "The payload") if text else None


def _reason(form: Form) -> str | None:
    reason = form["reason"].strip()
    if len(reason) > LONGEST_REASON:
        raise ValueError(f"a reason has at most {LONGEST_REASON} characters")
    if "\0" in reason:
        raise ValueError("a reason has no NUL characters")
    return reason or None
