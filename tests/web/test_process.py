"""`grctl dashboard` as a process: what it says, how it ends, and when it does not begin."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from tests.support import environment, run_cli

COMMAND = ("-m", "grctl.cli.main", "dashboard")

# Without the extra: its modules cannot be found, as where they are not installed.
BARE = """
import importlib.util, sys
found = importlib.util.find_spec
gone = ("starlette", "uvicorn", "jinja2", "itsdangerous")
importlib.util.find_spec = lambda name, *a: None if name in gone else found(name, *a)
for name in gone:
    sys.modules[name] = None
from grctl.cli.main import main
sys.exit(main())
"""


@asynccontextmanager
async def serving(
    dsn: str, *arguments: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A dashboard on a free port, and the address that it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *COMMAND, "--port", "0", *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=environment(dsn),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        told = await asyncio.wait_for(process.stdout.readline(), 60)
        match = re.search(r"The dashboard is at (\S+)", told.decode())
        assert match, told
        yield process, match[1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_it_prints_its_address_serves_and_ends_in_good_order(database):
    for sent in (signal.SIGTERM, signal.SIGINT):
        async with serving(database.dsn) as (process, url):
            async with httpx.AsyncClient(base_url=url) as browser:
                assert "Overview" in (await browser.get("/")).text
                assert (await browser.get("/healthz")).json() == {"status": "ok"}
                process.send_signal(sent)
                assert await asyncio.wait_for(process.wait(), 30) == 0
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) != 0


async def test_a_port_that_is_taken_is_told(database):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = await run_cli("dashboard", "--port", port, database_url=database.dsn)
    assert ended.code != 0
    assert f"cannot listen on 127.0.0.1:{port}" in ended.err
    assert "Traceback" not in ended.err


async def test_it_does_not_listen_to_all_without_a_token(database):
    ended = await run_cli(
        "dashboard", "--host", "0.0.0.0", "--port", "0", database_url=database.dsn
    )
    assert ended.code != 0
    assert "GRCTL_DASHBOARD_TOKEN_FILE" in ended.err
    assert "Traceback" not in ended.err


async def test_without_the_extra_it_says_what_to_install(database):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", BARE, "dashboard",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment(database.dsn),
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode != 0
    assert "pip install 'grctl[web]'" in out.decode()
    assert "Traceback" not in out.decode()
