"""The next version of grctl, made from this one: a copy of the tree with one migration more."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.chaos.cluster import scratch
from tests.chaos.faults.surroundings import Surroundings
from tests.chaos.storm import Storm, Strike
from tests.support.processes import REPOSITORY, environment

REVISION = "9999"
VERSION = f'''"""What a next version may add, and an older one does not notice."""

from __future__ import annotations

from alembic import op

from grctl.postgres.migrations import run_script

revision = "{REVISION}"
down_revision = "{{previous}}"


def upgrade() -> None:
    run_script(op, "{REVISION}_next.sql")


def downgrade() -> None:
    raise NotImplementedError
'''
SCRIPT = """
alter table grctl.runs add column next_version text;
alter table grctl.events add column next_version text;
create index events_next_version on grctl.events (kind) where kind = 'next';
create table grctl.next_version (run_id uuid primary key);
create index runs_next_version on grctl.runs (next_version) where next_version is not null;
"""
TREES = ("grctl", "migrations", "tests")


@asynccontextmanager
async def with_a_next_version(_directory: Path) -> AsyncIterator[Surroundings]:
    """The database is migrated under load; then old and new workers work side by side."""
    with scratch() as copy:
        for tree in TREES:
            await asyncio.to_thread(
                shutil.copytree,
                REPOSITORY / tree,
                copy / tree,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        versions = copy / "migrations" / "versions"
        previous = max(path.name[:4] for path in versions.glob("[0-9]*.py"))
        (versions / f"{REVISION}_next.py").write_text(VERSION.format(previous=previous))
        (copy / "migrations" / "sql" / f"{REVISION}_next.sql").write_text(SCRIPT)
        yield Surroundings({}, [_migrating(copy)])


def _migrating(copy: Path) -> Strike:
    # Safe path: else the working directory, which has this version, comes first.
    new = {"PYTHONPATH": str(copy), "PYTHONSAFEPATH": "1"}

    async def migrate(storm: Storm) -> None:
        await storm.pause(4, 5)
        old = list(storm.workers.alive)
        async with storm.fault("migration"):
            await _upgrade(storm, new)
        for _ in old[:2]:
            await storm.workers.launch(**new)
        await storm.pause(8, 10)  # side by side
        async with storm.fault("kill an old one"):
            storm.workers.alive.remove(old[0])
            old[0].kill()
        await storm.pause(4, 5)
        for worker in old[1:]:
            worker.terminate()
            assert await worker.wait(timeout=60) == 0, worker.output[-3000:]
            storm.workers.alive.remove(worker)
        while await storm.pause(1, 2):  # the new ones alone
            pass

    return migrate


async def _upgrade(storm: Storm, new: dict[str, str]) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "grctl.cli.main",
        "db",
        "upgrade",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment(storm.dsn, **new),
    )
    words = (await process.communicate())[0].decode()
    assert process.returncode == 0, words
    assert REVISION in words, words
