"""`grctl why`: what holds a run up, and what to do."""

from __future__ import annotations

import re
import textwrap
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from grctl.cli.exits import ExitCode
from grctl.cli.session import AsJson, DatabaseUrl, Schema, ask, fail, print_json, print_text
from grctl.cli.show import Id, RunId
from grctl.cli.words import duration, printable

if TYPE_CHECKING:
    from grctl.models.why import Explanation, Reason

WHY_EPILOG = """Examples:

\b
  grctl why order-7
  grctl why order-7 --json | jq -r '.reasons[0].kind'

The first reason is the main one. Nothing is changed. If a worker holds the run, it is asked where
its code stands: file, line and function of what it awaits, innermost last."""

_WIDTH = 96
_COMMAND = re.compile("`[^`]*`")


def why(
    wf_id: Id,
    run_id: RunId = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
    schema: Schema = None,
) -> None:
    """Say why a run does not move, and what to do about it."""

    async def explained(client: object) -> Explanation | None:
        from grctl.client import Client
        from grctl.postgres.why import explain

        assert isinstance(client, Client)
        return await explain(client.database, wf_id, run_id, ask=True)

    explanation = ask(explained, database_url, schema)
    if explanation is None:
        which = f"there is no workflow with the id {wf_id!r}"
        fail(
            ExitCode.FAILURE,
            which if run_id is None else f"workflow {wf_id!r} has no run {run_id}",
        )
    if as_json:
        print_json(explanation.to_dict())
        return
    title = f"{explanation.wf_id} ({explanation.wf_type}) is {explanation.status}"
    print_text(printable(title))
    for reason in explanation.reasons:
        print_text(paragraph(reason, explanation.as_of))


def paragraph(reason: Reason, now: datetime, width: int = _WIDTH) -> str:
    """A reason, the stack it has and its advice, indented, in lines of that width."""
    told = "; ".join(filter(None, [printable(reason.text), _times(reason, now)]))
    lines = _wrapped(told, width, "  * ", "    ")
    lines += [f"    | {printable(frame)}" for frame in reason.details.get("stack", ())]
    if reason.advice:
        lines += _wrapped(printable(reason.advice), width, "    → ", "      ")
    return "\n".join(lines)


def _wrapped(text: str, width: int, first: str, others: str) -> list[str]:
    """In lines; ids, and the commands in backticks, stay whole: they are copied."""
    lines = textwrap.wrap(
        _COMMAND.sub(lambda found: found[0].replace(" ", "\0"), text),
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\0", " ") for line in lines]


def _times(reason: Reason, now: datetime) -> str:
    since, until = reason.since, reason.until
    told = []
    if since is not None:
        told.append(f"since {_moment(since)}, for {_length(now - since)}")
    if until is not None:
        left = f"in {_length(until - now)}" if until > now else "now"
        told.append(f"until {_moment(until)}, {left}")
    return ", ".join(told)


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _length(span: timedelta) -> str:
    return duration(max(0, span // timedelta(milliseconds=1)))
