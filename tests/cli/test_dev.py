from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from grctl.client import Client, Connection
from tests.support import environment, run_cli, wait_until

MODULE = "tests.workflows.endings"
READY = "Ctrl-C "

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/cwd").exists(), reason="looks for left-over processes in /proc"
)


class Dev:
    """A running `grctl dev`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.lines.append(line.decode().rstrip())

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def told(self, pattern: str) -> str:
        """What a line of the output says."""
        match = re.search(pattern, self.output)
        assert match, self.output
        return match[1]

    @property
    def dsn(self) -> str:
        return self.told(r"export GRCTL_DATABASE_URL=(\S+)")

    @property
    def data(self) -> Path:
        return Path(self.told(r"Its data: (\S+)"))


@asynccontextmanager
async def dev(home: Path, *arguments: str, ready: str = READY) -> AsyncIterator[Dev]:
    """`grctl dev` with its data below `home`, once it has said what it has to say."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "grctl.cli.main", "dev", *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment(XDG_DATA_HOME=str(home), GRCTL_LOG_FORMAT="json", HOME=str(home)),
    )  # fmt: skip
    running = Dev(process)
    reading = asyncio.create_task(running.read())
    try:
        await wait_until(
            lambda: ready in running.output or reading.done(), f"it says {ready!r}", timeout=60
        )
        assert ready in running.output, running.output
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await asyncio.wait_for(process.wait(), 10)
        await reading


async def ended(running: Dev, how: signal.Signals | None = signal.SIGINT) -> int:
    if how is not None:
        running.process.send_signal(how)
    return await asyncio.wait_for(running.process.wait(), 30)


def servers_below(place: Path) -> list[str]:
    """Processes that work in a directory below `place`, which may be gone."""
    found = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            where = os.readlink(link)  # noqa: PTH115  Path would drop what is said of a gone one
        except OSError:
            continue
        if where.startswith(f"{place}{os.sep}"):
            found.append(f"{link.parent.name}: {where}")
    return found


@pytest.fixture
def home(server_home: Path) -> Iterator[Path]:
    """A data directory; nothing runs below it in the end."""
    server_home.mkdir()
    yield server_home
    assert servers_below(server_home) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_it_runs_workflows_and_leaves_nothing_running(home, tmp_path, how):
    (tmp_path / "go").touch()
    async with dev(home, MODULE) as running:
        assert """grctl run ending --input '{"how": …, "place": …}'""" in running.output
        assert servers_below(home)
        await wait_until(lambda: "worker ready" in running.output, "the worker is ready")
        async with await Connection.connect(running.dsn) as connection:
            value = {"how": "wait", "place": str(tmp_path)}
            result = await Client(connection).run_workflow("ending", "one", value)
        assert result == "wait: done"
        assert await ended(running, how) == 0
        assert servers_below(home) == []
        assert '"worker stopped"' in running.output


async def test_its_dashboard_shows_the_runs_of_its_worker(home, tmp_path):
    async with dev(home, MODULE) as running:
        address = running.told(r"Dashboard: (http://\S+)")
        async with (
            await Connection.connect(running.dsn) as connection,
            httpx.AsyncClient(base_url=address) as browser,
        ):
            await wait_until(lambda: "worker ready" in running.output, "the worker is ready")
            value = {"how": "wait", "place": str(tmp_path)}
            handle = await Client(connection).start_workflow("ending", "seen", value)
            assert "seen" in (await browser.get("/runs?status=running&status=scheduled")).text
            (tmp_path / "go").touch()
            assert await handle.result(timeout=30) == "wait: done"
            assert "wait: done" in (await browser.get(f"/runs/{handle.run_id}")).text
            async with dev(home) as other:
                # The port is taken: it has another one.
                assert other.told(r"Dashboard: (http://\S+)") != address
                await ended(other)
        assert await ended(running) == 0
        async with httpx.AsyncClient() as browser:
            with pytest.raises(httpx.ConnectError):
                await browser.get(address)


async def test_the_data_is_kept_and_the_url_stays_good(home):
    async with dev(home, MODULE) as running:
        first = running.dsn
        assert running.data == home / "grctl" / "postgres"
        await ended(running)
    async with dev(home, MODULE) as running:
        assert running.dsn == first
        await ended(running)


async def test_an_ephemeral_one_leaves_no_data(home):
    async with dev(home, MODULE, "--ephemeral") as running:
        data = running.data
        assert data.exists()
        assert "removed at the end" in running.output
        assert await ended(running) == 0
        assert not data.parent.exists()
        assert servers_below(data.parent) == []
    assert not (home / "grctl").exists()


async def test_without_workflows_there_is_a_database_and_advice(home):
    async with dev(home) as running:
        assert "There is no worker: name the modules" in running.output
        checked = await run_cli("db", "check", database_url=running.dsn)
        assert checked.code == 0, checked.err
        assert await ended(running) == 0


async def test_two_of_them_share_a_server_until_the_last_one_ends(home):
    async with dev(home) as first, dev(home) as second:
        assert first.dsn == second.dsn
        assert "joined" not in first.output
        assert "PostgreSQL runs already, and is joined. Its data: " in second.output
        goes_on = "Ctrl-C ends this; PostgreSQL goes on while others use it."
        await wait_until(lambda: goes_on in second.output, "it says what goes on")
        async with dev(home, "--port", "1024") as third:
            assert third.dsn == first.dsn
            assert "--port 1024 is for a server that is started" in third.output
            assert await ended(third) == 0
        assert await ended(first) == 0
        assert (await run_cli("db", "check", database_url=second.dsn)).code == 0
        assert await ended(second) == 0


async def test_the_port_can_be_chosen(home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.listen()
        refused = await dev_to_its_end(home, "--port", str(port))
        assert refused == (1, f"error: port {port} of 127.0.0.1 is in use\n")
    async with dev(home, "--port", str(port)) as running:
        assert f"@127.0.0.1:{port}/" in running.dsn
        await ended(running)


async def test_wrong_workflows_stop_it_before_anything_starts(home):
    code, err = await dev_to_its_end(home, "tests.nowhere")
    assert code == 2
    assert "there is no module 'tests.nowhere'" in err
    assert not (home / "grctl").exists()


async def test_a_worker_that_crashes_ends_it_with_an_error(home, tmp_path):
    async with dev(home, MODULE) as running:
        await wait_until(lambda: "worker ready" in running.output, "the worker is ready")
        async with await Connection.connect(running.dsn) as connection:
            value = {"how": "exit", "place": str(tmp_path)}
            await Client(connection).start_workflow("ending", "one", value)
            assert await ended(running, how=None) == 1
        assert servers_below(home) == []
        assert "worker crashed" in running.output


async def test_what_was_left_by_a_killed_one_is_taken_over(home):
    async with dev(home) as running:
        first = running.dsn
        running.process.kill()
        await running.process.wait()
    async with dev(home) as running:
        assert running.dsn == first
        assert await ended(running) == 0


async def dev_to_its_end(home: Path, *arguments: str) -> tuple[int, str]:
    """The exit code and the errors of one that does not get going."""
    done = await run_cli("dev", *arguments, env={"XDG_DATA_HOME": str(home)})
    return done.code, done.err
