"""A cluster of two PostgreSQL nodes under Patroni, in synchronous mode, with etcd for its votes and
HAProxy before it, whose primary dies."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from grctl.postgres import migrations
from tests.chaos.faults.needs import PG15, program
from tests.chaos.faults.pgbouncer import free_port, listens
from tests.chaos.faults.surroundings import Surroundings
from tests.chaos.storm import Storm
from tests.support import wait_until

TOOLS: tuple[str | Path, ...] = ("etcd", "patroni", "haproxy", PG15)
PASSWORD = "chaos"
PATIENCE = 120.0

NODE = """
scope: grctl
name: {name}
restapi: {{listen: "127.0.0.1:{rest}", connect_address: "127.0.0.1:{rest}"}}
etcd3: {{host: "127.0.0.1:{etcd}"}}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 2
    retry_timeout: 5
    synchronous_mode: true
    postgresql:
      use_pg_rewind: true
      parameters: {{max_connections: 300, fsync: "off", wal_log_hints: "on", max_wal_size: 1GB}}
  initdb: [{{encoding: UTF8}}, {{locale: C}}]
postgresql:
  listen: 127.0.0.1:{port}
  connect_address: 127.0.0.1:{port}
  bin_dir: {bin}
  data_dir: {directory}/data
  pgpass: {directory}/pgpass
  remove_data_directory_on_rewind_failure: true
  remove_data_directory_on_diverged_timelines: true
  parameters: {{unix_socket_directories: "."}}
  pg_hba: ["host all all 127.0.0.1/32 md5", "host replication all 127.0.0.1/32 md5"]
  authentication:
    superuser: {{username: postgres, password: {password}}}
    replication: {{username: replicator, password: {password}}}
    rewind: {{username: rewinder, password: {password}}}
"""
PROXY = """
defaults
  mode tcp
  timeout connect 2s
  timeout client 1h
  timeout server 1h
  timeout check 2s
listen primary
  bind 127.0.0.1:{port}
  option httpchk OPTIONS /primary
  http-check expect status 200
  default-server inter 500ms fall 2 rise 1 on-marked-down shutdown-sessions
"""


class Node:
    """A Patroni and its PostgreSQL; both can be killed at once, as by a loss of power."""

    def __init__(self, directory: Path, number: int, etcd: int) -> None:
        self.port, self.rest = free_port(), free_port()
        self.name = f"node{number}"
        self._directory = directory / self.name
        self._directory.mkdir(mode=0o700)
        self._process: asyncio.subprocess.Process | None = None
        (self._directory / "patroni.yml").write_text(
            NODE.format(
                name=self.name,
                rest=self.rest,
                port=self.port,
                etcd=etcd,
                bin=PG15,
                directory=self._directory,
                password=PASSWORD,
            )
        )
        owner = pwd.getpwnam("postgres")
        for path in (self._directory, self._directory / "patroni.yml"):
            shutil.chown(path, owner.pw_uid, owner.pw_gid)

    async def start(self) -> None:
        self._process = await _started(
            self._directory.parent / f"{self.name}.log",
            ["patroni", str(self._directory / "patroni.yml")],
            user="postgres",
        )

    async def kill(self) -> None:
        """SIGKILL to Patroni, and to the server and all of its processes."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        with suppress(OSError, ValueError):
            pid = int((self._directory / "data" / "postmaster.pid").read_text().split()[0])
            os.killpg(pid, signal.SIGKILL)  # a server is the leader of its own group

    async def says(self, role: str) -> bool:
        """Whether Patroni says that it has this role: ``primary``, ``sync``."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.rest)
                writer.write(f"GET /{role} HTTP/1.0\r\n\r\n".encode())
                line = await reader.readline()
                writer.close()
                return b" 200 " in line
        return False


class Cluster:
    """Two nodes, and one address for whichever is the primary."""

    def __init__(self, nodes: Sequence[Node], dsn: str) -> None:
        self.nodes = nodes
        self.dsn = dsn

    async def is_ready(self) -> bool:
        """A primary, and a standby that has all it has."""
        return bool(await self.with_role("primary")) and bool(await self.with_role("sync"))

    async def with_role(self, role: str) -> list[Node]:
        return [node for node in self.nodes if await node.says(role)]

    async def lose_the_primary(self, storm: Storm) -> None:
        """The primary loses its power; when the other has taken its place, it comes back."""
        while await storm.pause(4, 6):
            await wait_until(self.is_ready, "there is a standby in step", timeout=PATIENCE)
            [primary] = await self.with_role("primary")
            [standby] = [node for node in self.nodes if node is not primary]
            async with storm.fault("primary lost", primary.name):
                await primary.kill()
                await wait_until(
                    lambda standby=standby: standby.says("primary"),
                    "the standby is the primary",
                    timeout=PATIENCE,
                    interval=0.2,
                )
                await primary.start()
        await wait_until(self.is_ready, "there is a standby in step", timeout=PATIENCE)


@asynccontextmanager
async def under_patroni(directory: Path) -> AsyncIterator[Surroundings]:
    """etcd, two nodes, HAProxy."""
    etcd, peer, port = free_port(), free_port(), free_port()
    async with AsyncExitStack() as stack:
        votes = await _started(directory / "etcd.log", _etcd(directory, etcd, peer))
        stack.push_async_callback(_ended, votes)
        await wait_until(lambda: listens(etcd), "etcd listens", timeout=PATIENCE)
        nodes = [Node(directory, number, etcd) for number in range(2)]
        for node in nodes:
            stack.push_async_callback(node.kill)
            await node.start()
        proxy = directory / "haproxy.cfg"
        servers = [f"  server {n.name} 127.0.0.1:{n.port} check port {n.rest}\n" for n in nodes]
        proxy.write_text(PROXY.format(port=port) + "".join(servers))
        balancing = await _started(directory / "haproxy.log", ["haproxy", "-db", "-f", str(proxy)])
        stack.push_async_callback(_ended, balancing)
        cluster = Cluster(nodes, f"postgresql://postgres:{PASSWORD}@127.0.0.1:{port}/postgres")
        await wait_until(cluster.is_ready, "the cluster is ready", timeout=PATIENCE, interval=0.2)
        await wait_until(lambda: _migrated(cluster.dsn), "it is migrated", timeout=PATIENCE)
        yield Surroundings({"database_url": cluster.dsn}, [cluster.lose_the_primary])


def _etcd(directory: Path, client: int, peer: int) -> list[str]:
    here, there = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    return [
        "etcd",
        "--data-dir", str(directory / "etcd"),
        "--listen-client-urls", here,
        "--advertise-client-urls", here,
        "--listen-peer-urls", there,
        "--initial-advertise-peer-urls", there,
        "--initial-cluster", f"default={there}",
        "--unsafe-no-fsync",
    ]  # fmt: skip


async def _migrated(dsn: str) -> bool:
    try:
        await migrations.upgrade(dsn)
    except OSError:  # HAProxy has not found the primary yet
        return False
    return True


async def _started(
    log: Path, command: Sequence[str], user: str | None = None
) -> asyncio.subprocess.Process:
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            program(command[0]) or command[0],
            *command[1:],
            stdout=output,
            stderr=output,
            cwd=log.parent,
            start_new_session=True,
            user=user,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        )


async def _ended(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()
