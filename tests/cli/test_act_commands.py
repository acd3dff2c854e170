"""`grctl send`, `query`, `update`, `cancel`, `terminate`, `retry`, `types`, `workers` and
`history --follow`, as real processes beside a real worker.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from grctl.cli.follow import Follower
from grctl.client import Client, Connection
from grctl.errors import StepFailed
from grctl.settings import Settings
from grctl.worker import Worker
from tests.features.looking import has_status, status_of
from tests.support import Database, Finished, environment, run_cli, wait_until
from tests.support.ledger import VARIABLE, Ledger
from tests.workflows import features
from tests.workflows.acting import ALL as ACTING

Cli = Callable[..., Awaitable[Finished]]


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    path = tmp_path / "ledger.sqlite"
    monkeypatch.setenv(VARIABLE, str(path))
    made = Ledger(path)
    yield made
    made.close()
    features.close_books()


@pytest_asyncio.fixture
async def client(settings: Settings, book: Ledger) -> AsyncIterator[Client]:
    """A client, with a worker in this process beside it."""
    async with (
        await Connection.connect(settings=settings) as connection,
        asyncio.TaskGroup() as group,
    ):
        worker = Worker([*features.ALL, *ACTING], connection)
        group.create_task(worker.start())
        await worker.wait_until_ready()
        yield Client(connection)
        await worker.stop(shutdown_timeout=0)


@pytest.fixture
def cli(client: Client, database: Database) -> Cli:
    async def grctl(*arguments: str) -> Finished:
        return await run_cli(*arguments, database_url=database.dsn)

    return grctl


def one_line(done: Finished) -> str:
    """What a command that ended badly says: one line on stderr, nothing on stdout."""
    assert done.out == ""
    assert done.err.startswith("error: "), done.err
    assert done.err.count("\n") == 1, done.err
    return done.err


async def boxed(client: Client, database: Database) -> Any:
    handle = await client.start_workflow("features.box", "b")
    await has_status(database, "b", "waiting")
    return handle


async def test_send_puts_an_event_into_the_inbox(
    cli: Cli, client: Client, database: Database, tmp_path: Path
) -> None:
    handle = await boxed(client, database)
    done = await cli("send", "b", "put", "--payload", '{"item": "bøok"}')
    assert (done.code, done.out) == (0, "")
    assert done.err == "event 'put' is in the inbox of 'b'\n"
    file = tmp_path / "payload.json"
    file.write_text('{"first": 1, "second": "two"}', encoding="utf-8")
    assert (await cli("send", "b", "put_pair", "--payload-file", str(file))).code == 0
    assert (await cli("send", "b", "put nothing")).code == 0
    await handle.send("finish")
    assert await handle.result() == ["bøok", ["pair", 1, "two"], "nothing"]


async def test_query_prints_the_answer_as_json(
    cli: Cli, client: Client, database: Database
) -> None:
    await boxed(client, database)
    done = await cli("query", "b", "sum_with", "5", "-7")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {"sum": -2, "wf_id": "b", "status": "waiting"}
    assert (await cli("query", "b", "got")).out == "[]\n"


@pytest.mark.parametrize(("what", "error"), [("value", "ValueError"), ("timeout", "TimeoutError")])
async def test_what_a_query_handler_raises_is_exit_code_1(
    cli: Cli, client: Client, database: Database, what: str, error: str
) -> None:
    await boxed(client, database)
    done = await cli("query", "b", "raises", f'"{what}"')
    assert done.code == 1
    assert one_line(done) == f"error: query 'raises' of 'b' raised {error}: the handler's own\n"


async def test_update_prints_the_answer_as_json(
    cli: Cli, client: Client, database: Database
) -> None:
    await boxed(client, database)
    assert (await cli("update", "b", "add", "--payload", "20")).out == "20\n"
    done = await cli("update", "b", "add", "--payload", "3", "--timeout", "30")
    assert (done.code, done.out, done.err) == (0, "23\n", "")


async def test_what_an_update_handler_raises_is_exit_code_1(
    cli: Cli, client: Client, database: Database
) -> None:
    await boxed(client, database)
    done = await cli("update", "b", "refuse")
    assert done.code == 1
    assert one_line(done) == "error: update 'refuse' of 'b' raised ValueError: not today\n"


async def test_an_answer_that_does_not_come_in_time_is_exit_code_5(
    cli: Cli, client: Client, database: Database, book: Ledger
) -> None:
    await client.start_workflow("features.box", "b", {"gate": "never"})
    await wait_until(lambda: book.count("at gate"), "it is in its step")
    done = await cli("update", "b", "add", "--payload", "1", "--timeout", "0.3")
    assert done.code == 5
    assert "was not answered within 0.3 s; it stays in the run's inbox" in one_line(done)
    done = await cli("query", "b", "slow", '"never"', "--timeout", "0.3")
    assert done.code == 5
    assert "was not answered within 0.3 s" in one_line(done)


@pytest.mark.parametrize(("how", "status"), [("cancel", "cancelled"), ("terminate", "terminated")])
async def test_a_run_is_ended_with_a_reason(
    cli: Cli, client: Client, database: Database, how: str, status: str
) -> None:
    await boxed(client, database)
    done = await cli(how, "b", "--reason", "enough")
    assert (done.code, done.out) == (0, "")
    assert "'b'" in done.err
    assert await status_of(database, "b") == status
    assert (await client.get_history("b"))[-1].msg.to_dict()["reason"] == "enough"
    again = await cli(how, "b")
    assert again.code == 1
    assert "has ended and cannot be" in one_line(again)


async def test_retry_opens_a_failed_run_again(cli: Cli, client: Client, book: Ledger) -> None:
    handle = await client.start_workflow("acting.flaky", "f")
    with pytest.raises(StepFailed):
        await handle.result(timeout=10)
    book.open_gate("f")
    done = await cli("retry", "f")
    assert (done.code, done.out, done.err) == (0, "", "workflow 'f' is open again\n")
    assert await handle.result(timeout=10) == "done"
    assert book.count("done once") == 1
    again = await cli("retry", "f")
    assert again.code == 1
    assert "has not failed: nothing to retry" in one_line(again)


async def test_what_is_refused_is_one_line_and_a_code(
    cli: Cli, client: Client, database: Database
) -> None:
    await boxed(client, database)
    ended = await client.start_workflow("features.box", "e")
    await ended.send("finish")
    await ended.result()
    unknown = "there is no workflow with the id 'x'"
    for code, words, arguments in [
        (1, unknown, ("send", "x", "put")),
        (1, unknown, ("query", "x", "got")),
        (1, unknown, ("update", "x", "add")),
        (1, unknown, ("cancel", "x")),
        (1, unknown, ("terminate", "x")),
        (1, unknown, ("retry", "x")),
        (1, unknown, ("history", "x", "--follow")),
        (1, "handles no event 'nothing'", ("send", "b", "nothing")),
        (1, "handles no query 'nothing'", ("query", "b", "nothing")),
        (1, "handles no update 'nothing'", ("update", "b", "nothing")),
        (1, "has ended and takes no events", ("send", "e", "put")),
        (1, "has ended and takes no updates", ("update", "e", "add")),
        (2, "the payload in --payload is not JSON", ("send", "b", "put", "--payload", "{a: 1}")),
        (2, "give --payload or --payload-file", ("send", "b", "put", "--payload", "1",
                                                 "--payload-file", "x")),
        (2, "cannot read the payload", ("update", "b", "add", "--payload-file", "/no/such/file")),
        (2, "argument 1 (total) is not JSON", ("query", "b", "sum_with", "total")),
    ]:  # fmt: skip
        done = await cli(*arguments)
        assert done.code == code, (arguments, done)
        assert words in one_line(done), arguments


async def test_types_lists_what_is_registered(cli: Cli) -> None:
    done = await cli("types")
    assert (done.code, done.err) == (0, "")
    heading, *rows = done.out.splitlines()
    assert heading.split() == ["TYPE", "WORKERS", "START", "STEPS", "EVENTS", "QUERIES", "UPDATES"]
    assert [row.split()[:3] for row in rows if row.startswith("acting.")] == [
        ["acting.flaky", "1", "begin"],
    ]
    by_type = {each["type"]: each for each in json.loads((await cli("types", "--json")).out)}
    assert by_type["features.parent"]["steps"] == ["grown", "raise_children"]
    assert by_type["features.sleeper"]["events"] == ["poke"]
    assert by_type["features.box"]["updates"] == [
        "add", "add_order", "answer_nothing", "end_with", "hang", "refuse",
    ]  # fmt: skip


async def test_workers_lists_who_is_up_and_who_was(
    cli: Cli, client: Client, database: Database, settings: Settings, book: Ledger
) -> None:
    await client.start_workflow("features.box", "b", {"gate": "never"})
    await wait_until(lambda: book.count("at gate"), "it is in its step")
    async with await Connection.connect(settings=settings) as connection:
        other = Worker(ACTING, connection)
        running = asyncio.create_task(other.start())
        await other.wait_until_ready()
        await other.stop()
        await running
    done = await cli("workers")
    assert (done.code, done.err) == (0, "")
    heading, up, stopped = done.out.splitlines()
    assert heading.split() == ["WORKER", "STATE", "RUNS", "LEASE", "SINCE", "ENDED", "TYPES"]
    assert up.split()[1:5] == ["up", "1", "of", "500"]
    assert stopped.split()[:2] == [other.worker_id, "stopped"]
    await database.execute("update grctl.workers set ended_at = ended_at - interval '2 hours'")
    assert len((await cli("workers")).out.splitlines()) == 2
    found = json.loads((await cli("workers", "--all", "--json")).out)
    assert [(each["state"], each["runs"]) for each in found] == [("up", 1), ("stopped", 0)]
    assert found[1]["types"] == ["acting.flaky"]


async def test_without_a_worker_that_is_up_it_says_so(database: Database) -> None:
    done = await run_cli("workers", database_url=database.dsn)
    assert done.code == 0
    assert done.err == "no worker is up: start one with `grctl worker MODULE`\n"


async def test_history_follows_a_run_to_its_end(
    cli: Cli, client: Client, database: Database, book: Ledger
) -> None:
    handle = await client.start_workflow("features.box", "b", {"gate": "first"})
    await wait_until(lambda: book.count("at gate"), "it is in its step")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "grctl.cli.main", "history", "b", "--follow", "--json"),
        stdout=subprocess.PIPE,
        env=environment(database.dsn),
    )
    assert process.stdout is not None
    lines = [await asyncio.wait_for(process.stdout.readline(), 30) for _ in range(3)]
    book.open_gate("first")
    lines += [await asyncio.wait_for(process.stdout.readline(), 30) for _ in range(4)]
    await handle.send("put", {"item": "x"})
    await handle.send("finish")
    rest, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    told = [json.loads(line) for line in [*lines, *rest.splitlines()]]
    kinds = [event["kind"] for event in told]
    assert kinds[:3] == ["run.scheduled", "run.started", "step.started"]
    assert kinds[-1] == "run.completed"
    whole = [event.kind.value for event in await client.get_history("b")]
    assert sorted(kinds) == sorted(whole)
    as_text = await cli("history", "b", "--follow")
    assert as_text.out == (await cli("history", "b")).out


async def test_a_start_that_is_told_later_is_told_once(client: Client, book: Ledger) -> None:
    handle = await client.start_workflow("acting.flaky", "f")
    with pytest.raises(StepFailed):
        await handle.result(timeout=10)
    whole = await client.get_history("f")
    follower = Follower()
    starts = {"task.started"}
    first = follower.new([event for event in whole if event.kind.value not in starts])
    assert len(first) < len(whole)
    late = follower.new(whole)
    assert {event.kind.value for event in late} == starts
    assert len(first) + len(late) == len(whole)
    assert follower.new(whole) == []


COMMANDS = [
    ("send", "x", "e"), ("query", "x", "q"), ("update", "x", "u"), ("cancel", "x"),
    ("terminate", "x"), ("retry", "x"), ("types",), ("workers",), ("history", "x", "--follow"),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
async def test_a_database_that_is_down_is_exit_code_3(command: tuple[str, ...]) -> None:
    done = await run_cli(*command, database_url="postgresql://me:secret@127.0.0.1:1/nowhere")
    assert done.code == 3
    assert "cannot connect" in one_line(done)
    assert "secret" not in done.err


@pytest.mark.parametrize("command", [command[0] for command in COMMANDS])
async def test_help_teaches_by_examples(command: str) -> None:
    done = await run_cli(command, "--help")
    assert done.code == 0
    assert "Example" in done.out
    assert f"    grctl {command}" in done.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_completion_scripts_are_printed(shell: str) -> None:
    # By what they ask of grctl: the option itself asks of which shell this is a child.
    done = await run_cli(env={"_GRCTL_COMPLETE": f"source_{shell}"})
    assert done.code == 0
    assert f"_GRCTL_COMPLETE=complete_{shell}" in done.out


async def test_completion_knows_the_commands() -> None:
    done = await run_cli(
        env={"_GRCTL_COMPLETE": "complete_bash", "COMP_WORDS": "grctl te", "COMP_CWORD": "1"}
    )
    assert done.out.split() == ["terminate"]


def test_help_is_quick_for_it_imports_nothing_heavy() -> None:
    heavy = ("asyncio", "asyncpg", "pydantic", "rich", "sqlalchemy", "structlog")
    code = (
        "import sys; sys.argv = ['grctl', '--help']\n"
        "from grctl.cli.main import main\n"
        "try: main()\n"
        f"finally: print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment()
    )
    assert done.stdout.endswith("[]\n")
    assert "terminate" in done.stdout
