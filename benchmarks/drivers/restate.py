"""Restate: its server, a service that granian runs, and a client by HTTP; all below this process.

The server keeps its data in RocksDB, with fsync as it is by default; see restate.toml. It stays up
between measurements, and is idle then.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from benchmarks.drivers.wire import expect, in_lanes, one_by_one, serve, timed

START_SECONDS = 60.0


class Driver:
    """See `benchmarks.drivers.wire`. `open` takes no database, but a directory."""

    def __init__(self) -> None:
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ports: dict[str, int] = {}

    async def open(self, directory: str, binary: str, **_settings: Any) -> None:
        if "server" not in self.processes:
            await self._start_server(Path(directory), binary)
        await self._start_service()
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=120)
        )
        await self._post(
            "admin",
            "/deployments",
            {"uri": f"http://127.0.0.1:{self.ports['service']}", "force": True},
        )
        await self._until_it_answers()

    async def close(self) -> None:
        await self.session.close()
        self._kill("service")  # it keeps nothing, and its own way takes 10 s

    def shutdown(self) -> None:
        if "service" in self.processes:
            self._kill("service")
        self._end("server")

    async def throughput(self, prefix: str, runs: int, tasks: int, in_flight: int) -> Any:
        async def run(_number: int) -> None:
            expect(await self._call("tasks", count=tasks), tasks)

        return await in_lanes(runs, in_flight, run)

    async def payloads(self, prefix: str, runs: int, tasks: int, in_flight: int, size: int) -> Any:
        async def run(_number: int) -> None:
            expect(await self._call("payloads", count=tasks, size=size), tasks * size)

        return await in_lanes(runs, in_flight, run)

    async def latency(self, prefix: str, runs: int, tasks: int) -> Any:
        async def run(_number: int) -> None:
            expect(await self._call("tasks", count=tasks), tasks)

        return await one_by_one(runs, run)

    async def sequence(self, prefix: str, tasks: int) -> Any:
        return await timed(self._call("tasks", count=tasks), tasks)

    async def gather(self, prefix: str, tasks: int) -> Any:
        return await timed(self._call("gathered", count=tasks), sum(range(tasks)))

    async def chain(self, prefix: str, steps: int) -> Any:
        return await timed(self._call("tasks", count=steps), steps)

    async def ping_pong(self, prefix: str, runs: int) -> Any:
        for number in range(runs):
            await self._post("ingress", f"/waiting/{prefix}-{number}/listen/send", None)
        await asyncio.sleep(0.5)  # until they wait; nothing tells when

        async def run(number: int) -> None:
            name = f"/waiting/{prefix}-{number}"
            await self._post("ingress", f"{name}/ping", number)
            attach = f"/restate/workflow{name}/attach"
            async with self.session.get(self._url("ingress", attach)) as response:
                expect(await response.json(content_type=None), number)

        return await one_by_one(runs, run)

    async def children(self, prefix: str, children: int) -> Any:
        return await timed(self._call("parent", count=children), sum(range(children)))

    async def start_slow(
        self, prefix: str, runs: int, tasks: int, seconds: float, log: str
    ) -> None:
        async def start(number: int) -> None:
            given = {"run": f"{prefix}-{number}", "count": tasks, "seconds": seconds, "log": log}
            await self._post("ingress", "/bench/slowly/send", given)

        await in_lanes(runs, 50, start)

    async def completed(self) -> int:
        """Invocations of workflows that the server has as completed (children, too)."""
        query = "select count(*) as n from sys_invocation where status = 'completed'"
        answer = await self._post("admin", "/query", {"query": query})
        return int(answer["rows"][0]["n"])

    async def _until_it_answers(self) -> None:
        """A new server listens before its partitions have a leader."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                await self.completed()
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)
            else:
                return

    async def _call(self, handler: str, **given: Any) -> Any:
        return await self._post("ingress", f"/bench/{handler}", given)

    async def _post(self, where: str, path: str, body: Any) -> Any:
        headers = {"accept": "application/json"}
        given = {"skip_auto_headers": ["content-type"]} if body is None else {"json": body}
        async with self.session.post(self._url(where, path), headers=headers, **given) as response:
            if response.status >= 300:
                raise RuntimeError(f"{path}: {response.status} {await response.text()}")
            text = await response.read()
            return await response.json(content_type=None) if text else None

    def _url(self, where: str, path: str) -> str:
        return f"http://127.0.0.1:{self.ports[where]}{path}"

    async def _start_server(self, directory: Path, binary: str) -> None:
        self.ports = {name: _free_port() for name in ("ingress", "admin", "node", "service")}
        environment = {
            **os.environ,
            "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{self.ports['ingress']}",
            "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{self.ports['admin']}",
            "RESTATE_BIND_ADDRESS": f"127.0.0.1:{self.ports['node']}",
            "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{self.ports['node']}",
        }
        settings = Path(__file__).parent.parent / "peers" / "restate.toml"
        self._spawn(
            "server",
            [binary, "--no-logo", "--listen-mode", "tcp", "--config-file", str(settings),
             "--base-dir", str(directory / "restate")],
            environment,
            directory / "restate.log",
        )  # fmt: skip
        await self._until_it_listens("admin", directory / "restate.log")
        await self._until_it_listens("ingress", directory / "restate.log")

    async def _start_service(self) -> None:
        granian = [
            sys.executable, "-m", "granian", "--interface", "asgi", "--loop", "uvloop",
            "--http", "2", "--workers", "1", "--no-access-log", "--log-level", "warning",
            "--host", "127.0.0.1", "--port", str(self.ports["service"]),
            "benchmarks.drivers.restate_service:app",
        ]  # fmt: skip
        self._spawn("service", granian, dict(os.environ), None)
        await self._until_it_listens("service", None)

    def _spawn(
        self, name: str, command: list[str], environment: dict[str, str], log: Path | None
    ) -> None:
        with (log or Path(os.devnull)).open("ab") as out:
            self.processes[name] = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out if log else 2,
                stderr=out if log else 2,
                start_new_session=True,
            )

    async def _until_it_listens(self, name: str, log: Path | None) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.ports[name])
            except OSError:
                if time.monotonic() > deadline:
                    said = log.read_text(errors="replace")[-2000:] if log else ""
                    raise RuntimeError(f"{name} does not listen: {said}") from None
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return

    def _kill(self, name: str) -> None:
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)  # granian has its workers below it
        process.wait()

    def _end(self, name: str) -> None:
        process = self.processes.pop(name, None)
        if process is None:
            return
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    serve(Driver(), uvloop.new_event_loop)
