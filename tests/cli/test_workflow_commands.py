"""`grctl run`, `start`, `history`, `describe`, `list`, as real processes beside a real worker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from grctl.client import Client, Connection
from grctl.settings import Settings
from grctl.worker import Worker
from tests.support import Finished, environment, run_cli, wait_until
from tests.workflows import reading

UNREACHABLE = "postgresql://me:secret@127.0.0.1:1/nowhere"
Cli = Callable[..., Awaitable[Finished]]


@pytest_asyncio.fixture
async def client(settings: Settings) -> AsyncIterator[Client]:
    """A client, with a worker in this process beside it."""
    async with (
        await Connection.connect(settings=settings) as connection,
        asyncio.TaskGroup() as group,
    ):
        worker = Worker(reading.ALL, connection)
        group.create_task(worker.start())
        await worker.wait_until_ready()
        yield Client(connection)
        await worker.stop(shutdown_timeout=0)


@pytest.fixture
def cli(client: Client, database) -> Cli:
    async def grctl(*arguments: str) -> Finished:
        return await run_cli(*arguments, database_url=database.dsn)

    return grctl


def one_line(done: Finished) -> str:
    """What a command that ended badly says: one line on stderr, nothing on stdout."""
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1, done.err
    return done.err


async def test_run_prints_the_result_as_json(cli):
    done = await cli("run", "shop", "--id", "s-1", "--input", '{"item": "bøok", "amount": 2}')
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out) == {"item": "bøok", "paid": "paid"}


async def test_run_reads_its_input_from_a_file(cli, tmp_path):
    file = tmp_path / "input.json"
    file.write_text('{"item": "book"}', encoding="utf-8")
    done = await cli("run", "shop", "--input-file", str(file))
    assert json.loads(done.out)["item"] == "book"
    assert done.code == 0


async def test_a_failed_workflow_is_exit_code_1(cli):
    done = await cli("run", "shop", "--id", "s-1", "--input", '{"item": "x", "amount": 101}')
    assert done.code == 1
    assert one_line(done) == "error: workflow 's-1' failed: ValueError: too much\n"


async def test_a_workflow_that_times_out_is_exit_code_5(cli):
    done = await cli("run", "parked", "--id", "p-1", "--timeout", "0.1")
    assert done.code == 5
    assert one_line(done) == "error: workflow 'p-1' did not end within its timeout\n"


@pytest.mark.parametrize("seconds", ["inf", "1e300", "nan"])
async def test_a_timeout_that_is_no_time_is_wrong_usage(cli, seconds):
    done = await cli("start", "shop", "--timeout", seconds)
    assert done.code == 2
    assert one_line(done).startswith("error: --timeout is a number of seconds, not ")


@pytest.mark.parametrize("how", ["cancel", "terminate"])
async def test_a_workflow_that_is_cancelled_is_exit_code_4(cli, client, how):
    running = asyncio.create_task(cli("run", "parked", "--id", "p-1"))
    await wait_until(lambda: exists(client, "p-1"), "it is started")
    handle = await client.get_workflow_handle("p-1")
    await getattr(handle, how)("enough")
    done = await running
    assert done.code == 4
    assert f"workflow 'p-1': the workflow was {how}" in one_line(done)


async def exists(client: Client, wf_id: str) -> bool:
    return any(info.wf_id == wf_id for info in await client.list_workflows())


async def test_ctrl_c_stops_the_waiting_and_not_the_workflow(client, database):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "grctl.cli.main", "run", "parked", "--id", "p-1"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(database.dsn),
    )
    await wait_until(lambda: exists(client, "p-1"), "it is started")
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 130
    assert (out, err) == (b"", b"workflow p-1 goes on: `grctl history p-1`\n")
    assert (await client.describe("p-1")).status.is_open


async def test_start_prints_the_id_and_does_not_wait(cli, client):
    done = await cli("start", "parked", "--id", "p-1")
    assert (done.code, done.out, done.err) == (0, "p-1\n", "")
    made = await cli("start", "parked")
    assert made.out.startswith("parked-")
    assert await exists(client, made.out.strip())


async def test_history_shows_a_timeline(cli, client):
    await client.run_workflow("shop", "s-1", {"item": "book"})
    done = await cli("history", "s-1")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("s-1  (run ")
    for part in ('price(item="book")', "pay attempt 1 of 2 failed", "✔ run completed in "):
        assert part in done.out
    assert "\x1b" not in done.out
    assert len(done.out.splitlines()) == 11


async def test_history_as_json_has_every_field(cli, client):
    handle = await client.start_workflow("shop", "s-1", {"item": "book"})
    await handle.result()
    done = await cli("history", "s-1", "--run", str(handle.run_id), "--json")
    events = json.loads(done.out)
    assert [event["kind"] for event in events][-1] == "run.completed"
    assert events[3]["msg"]["args"] == {"item": "book"}
    assert events == [event.to_dict() for event in await client.get_history("s-1")]


async def test_describe_shows_what_a_run_is(cli, client):
    await client.start_workflow("parked", "p-1", {"timeout_ms": 60_000})
    await wait_until(lambda: waits(client, "p-1"), "it waits")
    done = await cli("describe", "p-1")
    assert done.code == 0
    lines = dict(line.split("  ", 1) for line in done.out.splitlines())
    found = {name.strip(): text.strip() for name, text in lines.items()}
    assert found["wf id"] == "p-1"
    assert found["status"] == "waiting"
    assert found["input"] == '{"timeout_ms": 60000}'
    as_json = json.loads((await cli("describe", "p-1", "--json")).out)
    assert as_json["status"] == "waiting"
    assert as_json["input"] == {"timeout_ms": 60_000}
    assert as_json["error"] is None


async def waits(client: Client, wf_id: str) -> bool:
    return (await client.describe(wf_id)).status == "waiting"


async def test_list_shows_a_table_and_where_it_goes_on(cli, client):
    for number in range(3):
        await client.run_workflow("shop", f"s-{number}", {"item": "book"})
    done = await cli("list", "--type", "shop", "--limit", "2", "--since", "1h")
    assert done.code == 0
    header, *rows = done.out.splitlines()
    assert header.split()[:3] == ["WORKFLOW", "ID", "TYPE"]
    assert [row.split()[:3] for row in rows] == [
        ["s-2", "shop", "completed"], ["s-1", "shop", "completed"],
    ]  # fmt: skip
    assert done.err.startswith("more: --cursor ")
    rest = await cli("list", "--cursor", done.err.split()[-1], "--json")
    page = json.loads(rest.out)
    assert [info["wf_id"] for info in page["runs"]] == ["s-0"]
    assert page["next_cursor"] is None
    assert (await cli("list", "--status", "failed", "--since", "2024-05-01")).out.count("\n") == 1


async def test_what_is_refused_is_one_line_and_a_code(cli, client):
    await client.start_workflow("parked", "p-1")
    for code, words, arguments in [
        (1, "has a run that is not over", ("start", "parked", "--id", "p-1")),
        (1, "'nothing'", ("run", "nothing")),
        (1, "there is no workflow with the id 'x'", ("history", "x")),
        (1, "there is no workflow with the id 'x'", ("describe", "x")),
        (1, "has no run", ("history", "p-1", "--run", "01890000-0000-7000-8000-000000000001")),
        (2, "is not JSON", ("run", "shop", "--input", "{item: 1}")),
        (2, "is not JSON: NaN", ("run", "shop", "--input", "NaN")),
        (2, "not both", ("run", "shop", "--input", "1", "--input-file", "x")),
        (2, "cannot read the input", ("start", "shop", "--input-file", "/no/such/file")),
        (2, "1 to 255 characters", ("start", "parked", "--id", "x" * 256)),
        (2, "timeout must be positive", ("start", "parked", "--timeout", "-1")),
        (2, "the statuses are", ("list", "--status", "happy")),
        (2, "limit must be", ("list", "--limit", "0")),
        (2, "--since takes", ("list", "--since", "yesterday")),
        (2, "next_cursor", ("list", "--cursor", "x")),
    ]:  # fmt: skip
        done = await cli(*arguments)
        assert done.code == code, (arguments, done)
        assert words in one_line(done), arguments


COMMANDS = [
    ("run", "shop"), ("start", "shop"), ("history", "x"), ("describe", "x"), ("list",),
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
async def test_a_database_that_is_down_is_exit_code_3(command):
    done = await run_cli(*command, database_url=UNREACHABLE)
    assert done.code == 3
    assert "cannot connect" in one_line(done)
    assert "secret" not in done.err


async def test_a_database_that_is_not_migrated_is_exit_code_3(empty_database):
    for command in COMMANDS:
        done = await run_cli(*command, database_url=empty_database.dsn)
        assert done.code == 3
        assert "run `grctl db upgrade`" in one_line(done)


@pytest.mark.parametrize("command", [command[0] for command in COMMANDS])
async def test_help_teaches_by_examples(command):
    done = await run_cli(command, "--help")
    assert done.code == 0
    assert "Example" in done.out


def test_the_command_line_imports_nothing_heavy():
    heavy = ("asyncpg", "sqlalchemy", "alembic", "pydantic", "structlog")
    code = f"import sys, grctl.cli.main; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment() | {"PATH": os.environ["PATH"]},
    )
    assert done.stdout == "[]\n"
