"""The compose file, driven as an operator does it: by the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent.parent


def docker(*arguments: str, check: bool = True) -> str:
    """The output of a docker command."""
    return _run("docker", *arguments, check=check)


def is_there() -> bool:
    """Whether an engine answers, and a compose of either generation."""
    if shutil.which("docker") is None:
        return False
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        return False
    return _compose() is not None


class Deployment:
    """One project of docker-compose.yml, under a name of its own."""

    def __init__(self, name: str, environ: Mapping[str, str]) -> None:
        self.name = name
        self.environ = dict(environ)

    def compose(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """The output of a compose command."""
        command = _compose()
        assert command is not None
        where = ["--project-name", self.name, "--file", str(REPOSITORY / "docker-compose.yml")]
        return _run(*command, *where, *arguments, environ=self.environ, stdin=stdin, check=check)

    def containers(self, service: str, *, all: bool = False) -> list[str]:
        """The ids of a service's containers; with `all` those, too, that do not run."""
        labels = f"label=com.docker.compose.service={service}"
        project = f"label=com.docker.compose.project={self.name}"
        flags = ["--all"] if all else []
        return docker("ps", "-q", "--no-trunc", *flags, "-f", labels, "-f", project).split()

    def state(self, container: str) -> dict[str, Any]:
        """What docker knows of a container's state."""
        state: dict[str, Any] = json.loads(docker("inspect", "-f", "{{json .State}}", container))
        return state

    def is_healthy(self, service: str, count: int) -> bool:
        """Whether as many containers of a service run, and all are healthy."""
        running = self.containers(service)
        return len(running) == count and all(
            self.state(each).get("Health", {}).get("Status") == "healthy" for each in running
        )

    def sql(self, statement: str) -> str:
        """What psql prints of a statement's answer."""
        return self.compose(
            "exec", "-T", "postgres", "psql", "-U", "grctl", "-d", "grctl", "-qtA", "-c", statement
        ).strip()

    def grctl(self, *arguments: str) -> str:
        """The output of a grctl command, in a worker's container."""
        return self.compose("exec", "-T", "worker", "grctl", *arguments)

    def start_orders(self, prefix: str, count: int) -> None:
        """Start orders from within a worker's container, by one statement."""
        program = f"""
import asyncio
from grctl.client import Client, Connection
async def main():
    async with await Connection.connect() as connection:
        started = await Client(connection).start_workflows([
            {{"type": "order", "id": f"{prefix}-{{n}}", "input": {{"order": {{
                "id": f"{prefix}-{{n}}", "items": ["book", "lamp"], "card": "good",
                "amount_cents": 4200}}}}}}
            for n in range({count})])
        assert not [each for each in started if isinstance(each, Exception)], started
asyncio.run(main())
"""
        self.compose("exec", "-T", "worker", "python", "-", stdin=program)

    def down(self) -> None:
        """Remove it all, the data too."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "20", check=False)


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 120) -> float:
    """Until `condition` holds; how many seconds that took.

    Raises:
        AssertionError: it does not, in time.
    """
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            raise AssertionError(f"after {seconds} s it still does not hold that {what}")
        time.sleep(0.25)
    return time.monotonic() - begun


def _compose() -> list[str] | None:
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    if plugin.returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


def _run(
    *command: str,
    environ: Mapping[str, str] | None = None,
    stdin: str | None = None,
    check: bool = True,
) -> str:
    done = subprocess.run(
        command,
        input=stdin if stdin is not None else "",
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
    return done.stdout
