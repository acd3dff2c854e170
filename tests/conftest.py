"""A real PostgreSQL for the tests: one server a session, one database a test.

The server is, in this order: `GRCTL_TEST_DATABASE_URL` (its user may create databases), a container
with `GRCTL_TEST_DOCKER=1`, else the embedded one (`GRCTL_PG_BIN` chooses its programs).
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import signal
import tempfile
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis.database import DirectoryBasedExampleDatabase, InMemoryExampleDatabase

from grctl.dev import EmbeddedPostgres
from grctl.postgres import migrations
from grctl.settings import Settings, load_settings, normalize_url, with_database
from tests.support.database import Database

REPOSITORY = Path(__file__).parent.parent

# A busy machine is no failing test. Failing examples are kept, unless the clone is another user's.
hypothesis_settings.register_profile(
    "grctl",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=(
        DirectoryBasedExampleDatabase(REPOSITORY / ".hypothesis" / "examples")
        if os.access(REPOSITORY, os.W_OK)
        else InMemoryExampleDatabase()
    ),
)
# For whoever only asks whether a test fails: no search for the smallest example.
hypothesis_settings.register_profile(
    "hurried",
    parent=hypothesis_settings.get_profile("grctl"),
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
hypothesis_settings.load_profile("grctl")

# A shell starts what it has in the background with Ctrl-C ignored, and that is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing here outlives the session, and a test never cuts the power.
_FAST = {
    "fsync": "off",
    "synchronous_commit": "on",
    "full_page_writes": "off",
    "autovacuum_naptime": "5s",
    "max_wal_size": "512MB",
    "checkpoint_timeout": "1h",
    "max_connections": "300",
}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Logs with half a surrogate in them are reported all the same, from another process too."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode())
        for title, text in report.sections
    ]
    return report


@pytest.fixture(scope="session", autouse=True)
def _environment() -> Iterator[None]:
    """No setting of whoever runs the tests has a say in them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("GRCTL_") and name != "GRCTL_PG_BIN":
                if not name.startswith("GRCTL_TEST_"):
                    patch.delenv(name)
            elif name.startswith("PG"):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def server_url(_environment: None) -> Iterator[str]:
    """A server on which databases can be created."""
    if url := os.environ.get("GRCTL_TEST_DATABASE_URL"):
        yield normalize_url(url)
    elif os.environ.get("GRCTL_TEST_DOCKER"):
        from testcontainers.community.postgres import PostgresContainer

        image = os.environ.get("GRCTL_TEST_DOCKER_IMAGE", "postgres:16-alpine")
        with PostgresContainer(image, driver=None) as container:
            yield normalize_url(container.get_connection_url())
    else:
        with EmbeddedPostgres(shared_home(), ephemeral=True, settings=_FAST) as server:
            yield server.dsn


def shared_home() -> Path:
    """In memory if it can be; the same for every session of this clone, user and PostgreSQL.

    So what a killed session left running is found by the next one, and ends with it.
    """
    memory = Path("/dev/shm")
    base = memory if os.access(memory, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    which = f"{REPOSITORY}:{os.environ.get('GRCTL_PG_BIN', '')}"
    name = hashlib.sha256(which.encode()).hexdigest()[:12]
    return base / f"grctl-tests-{os.geteuid()}-{name}"


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a migrated database, from which each test's is copied."""
    name = f"grctl_test_{secrets.token_hex(4)}_template"
    url = with_database(server_url, name)
    in_own_loop(_execute(server_url, f"create database {name}"))
    in_own_loop(migrations.upgrade(url))
    yield name
    in_own_loop(_execute(server_url, f"drop database {name} with (force)"))


@pytest_asyncio.fixture
async def database(server_url: str, template: str) -> AsyncIterator[Database]:
    """A migrated database of this test alone; for tests that are no coroutines, too."""
    async for each in fresh_database(server_url, template):
        yield each


@pytest_asyncio.fixture
async def empty_database(server_url: str) -> AsyncIterator[Database]:
    """A database with nothing in it, of this test alone."""
    async for each in fresh_database(server_url, "template1"):
        yield each


@pytest.fixture
def settings(database: Database) -> Settings:
    """Settings that lead to the test's database, with short times."""
    return load_settings(
        database_url=database.dsn, lease_seconds=2.0, poll_seconds=0.2, shutdown_seconds=5.0
    )


@pytest.fixture
def server_home() -> Iterator[Path]:
    """A directory for an embedded server of the test's own, where its account can go."""
    memory = Path("/dev/shm")
    base = memory if os.access(memory, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix="grctl-test-", dir=base) as directory:
        Path(directory).chmod(0o755)
        yield Path(directory) / "server"


async def fresh_database(server_url: str, template: str) -> AsyncIterator[Database]:
    """A copy of a database; it is dropped in the end."""
    name = f"grctl_test_{secrets.token_hex(6)}"
    await _execute(server_url, f"create database {name} template {template}")
    made = Database(with_database(server_url, name))
    try:
        yield made
    finally:
        await made.close()
        await _execute(server_url, f"drop database {name} with (force)")


async def _execute(url: str, sql: str) -> None:
    conn = await asyncpg.connect(url)
    try:
        await conn.execute(sql)
    finally:
        await conn.close()


def in_own_loop(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run `coroutine` to its end, in a thread: pytest-asyncio's loop is not touched."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()
