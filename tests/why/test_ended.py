"""Why a run that has ended does not move, and what can still be done; and the command."""

from __future__ import annotations

import json
import re
import shlex
from datetime import timedelta

import pytest

from grctl.client import Client
from grctl.errors import StepFailed
from grctl.models.why import ReasonKind
from tests.features.looking import has_status
from tests.support import Database, run_cli
from tests.support.ledger import Ledger
from tests.why.conftest import Why
from tests.workflows import features


async def test_it_is_completed(client: Client, serve, why: Why) -> None:
    await serve(features.child)
    await client.run_workflow("features.child", "c")

    explanation, reason = await why("c", ReasonKind.ENDED)

    assert (reason.text, reason.advice) == ("the run is completed", "")
    assert reason.since is not None
    assert len(explanation.reasons) == 1


async def test_it_failed_where_and_how_to_go_on(client: Client, serve, why: Why) -> None:
    await serve(features.child)
    with pytest.raises(StepFailed):
        await client.run_workflow("features.child", "c", {"how": "raise", "value": 4})

    _, reason = await why("c", ReasonKind.ENDED)

    assert reason.text == "the run failed in step 'grow': ValueError: child 4"
    assert "grctl retry" in reason.advice
    assert "in grow" in reason.details["error"]["stack_trace"]


async def test_it_was_terminated_and_why(client: Client, serve, why: Why) -> None:
    await serve(features.child)
    handle = await client.start_workflow("features.child", "c", {"how": "wait"})
    await handle.terminate("by the night shift")

    _, reason = await why("c", ReasonKind.ENDED)

    assert reason.text == "the run was terminated: by the night shift"


async def test_its_timeout_ended_it_and_was_announced(
    client: Client, serve, why: Why, database: Database
) -> None:
    await serve(features.child)
    await client.start_workflow("features.child", "c", {"how": "wait"}, timeout=timedelta(hours=1))
    await has_status(database, "c", "waiting")
    explanation, timeout = await why("c", ReasonKind.RUN_TIMEOUT, anywhere=True)
    assert timeout.until is not None
    assert timeout.until <= explanation.as_of + timedelta(hours=1)
    await database.execute("update grctl.runs set deadline_at = grctl.now(), wake_at = grctl.now()")

    _, reason = await why("c", ReasonKind.ENDED)

    assert reason.details["status"] == "timed_out"


async def test_it_went_on_as_a_new_run(
    client: Client, serve, why: Why, database: Database, book: Ledger
) -> None:
    await serve(features.again)
    handle = await client.start_workflow("features.again", "a", {"left": 2})
    book.open_gate("2")
    await why("a", ReasonKind.TASK_RUNS)  # the latest run is meant

    done = await run_cli(
        "why", "a", "--run", str(handle.run_info.id), "--json", database_url=database.dsn
    )

    assert json.loads(done.out)["reasons"][0]["kind"] == "continued"
    book.open_gate("1")
    await has_status(database, "a", "completed")


async def test_the_command_says_it_to_people_and_to_programs(
    client: Client, serve, why: Why, database: Database
) -> None:
    await serve(features.sleeper)
    await client.start_workflow("features.sleeper", "s", {"how": "wait", "seconds": 600})
    await why("s", ReasonKind.AWAITS_EVENT)

    said = await run_cli("why", "s", database_url=database.dsn)
    told = await run_cli("why", "s", "--json", database_url=database.dsn)

    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0] == "s (features.sleeper) is waiting"
    assert lines[1].startswith("  * the run waits for an event (poke); since 2")
    assert "→ send it: `grctl send s poke`" in said.out
    assert "in 9 min" in said.out
    reasons = json.loads(told.out)["reasons"]
    assert [each["kind"] for each in reasons] == ["awaits_event", "timer"]


async def test_a_command_that_is_advised_can_be_copied(
    client: Client, serve, why: Why, database: Database
) -> None:
    await serve(features.sleeper)
    for wf_id, words in [
        ("a; rm -rf ~", ["a; rm -rf ~", "poke"]),
        ("it's", ["it's", "poke"]),
        ("--all", ["--", "--all", "poke"]),
        (f"order-{'7-' * 40}", [f"order-{'7-' * 40}", "poke"]),
    ]:
        await client.start_workflow("features.sleeper", wf_id, {"how": "wait", "seconds": 600})
        await why(wf_id, ReasonKind.AWAITS_EVENT)
        said = await run_cli("why", "--", wf_id, database_url=database.dsn)
        [command] = re.findall(r"`grctl send ([^`]*)`", said.out)
        assert "\n" not in command.strip()
        assert shlex.split(command) == words


async def test_the_command_does_not_know_the_id(database: Database) -> None:
    done = await run_cli("why", "nobody", database_url=database.dsn)
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: there is no workflow with the id 'nobody'\n"
