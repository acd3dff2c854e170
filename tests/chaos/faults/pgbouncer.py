"""PgBouncer in transaction mode, before a server."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.chaos.faults.needs import program
from tests.support import wait_until

CONFIGURATION = """
[databases]
{database} = host=127.0.0.1 port={server_port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
max_client_conn = 500
ignore_startup_parameters = extra_float_digits
logfile = {directory}/log
pidfile = {directory}/pid
"""


@asynccontextmanager
async def pgbouncer(dsn: str, directory: Path, *, connections: int) -> AsyncIterator[str]:
    """The URL of a PgBouncer that shares so many connections to ``dsn`` among its clients."""
    parts = urlsplit(dsn)
    port = free_port()
    account = _configured(dsn, directory, port, connections)
    process = await asyncio.create_subprocess_exec(
        program("pgbouncer") or "pgbouncer",
        "-q",
        *account,
        str(directory / "pgbouncer.ini"),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await wait_until(lambda: listens(port), "PgBouncer listens", timeout=30)
        yield urlunsplit(parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}"))
    finally:
        process.kill()
        await process.wait()


def _configured(dsn: str, directory: Path, port: int, connections: int) -> list[str]:
    """Write the configuration; the options that name the account, where there has to be one."""
    parts = urlsplit(dsn)
    directory.mkdir()
    text = CONFIGURATION.format(
        database=parts.path[1:],
        server_port=parts.port,
        user=parts.username,
        password=parts.password,
        port=port,
        connections=connections,
        directory=directory,
    )
    (directory / "pgbouncer.ini").write_text(text)
    if os.geteuid() == 0:  # it refuses to run as root
        owner = pwd.getpwnam("postgres")
        for path in (directory, *directory.iterdir()):
            shutil.chown(path, owner.pw_uid, owner.pw_gid)
        return ["-u", owner.pw_name]
    return []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
