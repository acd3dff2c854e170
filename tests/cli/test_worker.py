from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from grctl.client import Client, Connection, WorkflowHandle
from grctl.dev import EmbeddedPostgres
from grctl.postgres import migrations
from tests.support import Database, WorkerProcess, environment, run_cli, wait_until

MODULE = "tests.workflows.endings"
PACKAGES = Path(__file__).parent.parent / "packages"


@pytest_asyncio.fixture
async def client(database: Database) -> AsyncIterator[Client]:
    async with await Connection.connect(database.dsn) as connection:
        yield Client(connection)


def worker_for(database: Database, *modules: str, **env: str) -> WorkerProcess:
    short = {"GRCTL_LEASE_SECONDS": "1", "GRCTL_SHUTDOWN_SECONDS": "20"}
    return WorkerProcess(*(modules or (MODULE,)), database_url=database.dsn, env=short | env)


async def begun(client: Client, place: Path, how: str, *, thread: bool = False) -> WorkflowHandle:
    """A run whose task is running."""
    handle = await client.start_workflow(
        "ending", f"{how}-{place.name}", {"how": how, "place": str(place), "thread": thread}
    )
    await wait_until((place / "started").exists, "the task has begun")
    return handle


def logged(worker: WorkerProcess, event: str) -> dict[str, object] | None:
    """The first log line of an event."""
    for line in worker.lines:
        if f'"{event}"' in line:
            entry: dict[str, object] = json.loads(line)
            return entry
    return None


async def test_it_says_what_it_will_do_and_shows_no_password(database):
    async with worker_for(database, GRCTL_SCHEMA="grctl", GRCTL_CONCURRENCY="7") as worker:
        line = logged(worker, "worker starting")
        assert line is not None
        assert line["workflows"] == ["ending"]
        assert line["concurrency"] == 7
        assert line["schema"] == "grctl"
        assert line["lease_seconds"] == 1
        assert str(line["database"]) in database.dsn
        assert "@" not in str(line["database"])
        assert database.dsn not in worker.output


async def test_options_win_over_variables(database):
    worker = worker_for(
        database, MODULE, "--concurrency", "3", "--name", "me", "--loop", "asyncio",
        GRCTL_CONCURRENCY="7",
    )  # fmt: skip
    async with worker:
        line = logged(worker, "worker starting")
        assert line is not None
        assert (line["concurrency"], line["loop"]) == (3, "asyncio")
        ready = logged(worker, "worker ready")
        assert ready is not None
        assert str(ready["worker"]).startswith("me.")


async def test_an_unknown_variable_is_warned_of(database):
    async with worker_for(database, GRCTL_CONCURENCY="7") as worker:
        assert "GRCTL_CONCURRENCY" in worker.output


async def test_it_works_on_the_workflows_of_an_installed_package(database, client, tmp_path):
    pip = ["-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-index", "--no-deps"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *pip, "--target", str(tmp_path), str(PACKAGES / "shipping"),
        env=environment(PIP_ROOT_USER_ACTION="ignore"),
    )  # fmt: skip
    assert await process.wait() == 0
    path = f"{tmp_path}:{Path(__file__).parent.parent.parent}"
    async with WorkerProcess(database_url=database.dsn, env={"PYTHONPATH": path}):
        result = await client.run_workflow("shipping.parcel", "p", {"item": "vase"})
    assert result == 4


async def test_modules_are_found_in_the_working_directory(tmp_path):
    (tmp_path / "mine.py").write_text("")
    # -P: as the installed command, which has not the working directory on its path.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "grctl.cli.main", "worker", "mine",
        cwd=tmp_path,
        env=environment("postgresql://nobody@127.0.0.1:1/nothing"),
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, err = await process.communicate()
    assert b"no Workflow among the globals of the module 'mine'" in err
    assert process.returncode == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no workflows to execute: name a module"),
        (["tests.nowhere"], "there is no module 'tests.nowhere'"),
        ([MODULE, "--concurrency", "0"], "concurrency=0"),
        ([MODULE, "--lease-seconds", "0"], "lease_seconds=0"),
        ([MODULE, "--loop", "tokio"], "tokio"),
    ],
)
async def test_wrong_usage_ends_with_2_and_says_what_is_wrong(database, arguments, message):
    done = await run_cli("worker", *arguments, database_url=database.dsn)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err


async def test_no_url_is_wrong_usage():
    done = await run_cli("worker", MODULE)
    assert done.code == 2
    assert "set GRCTL_DATABASE_URL" in done.err


async def test_a_database_that_cannot_be_reached_ends_the_start_with_3():
    done = await run_cli("worker", MODULE, database_url="postgresql://me:secret@127.0.0.1:1/no")
    assert done.code == 3
    assert "cannot connect to the database" in done.err
    assert "secret" not in done.err
    assert "Traceback" not in done.err


async def test_a_database_that_is_not_migrated_ends_the_start_with_3(empty_database):
    done = await run_cli("worker", MODULE, database_url=empty_database.dsn)
    assert done.code == 3
    assert "run `grctl db upgrade`" in done.err
    assert "Traceback" not in done.err


async def test_a_newer_database_ends_the_start_with_3(database):
    await database.execute("update grctl.alembic_version set version_num = '9999'")
    done = await run_cli("worker", MODULE, database_url=database.dsn)
    assert done.code == 3
    assert "a newer grctl" in done.err


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_a_first_signal_lets_running_steps_end(database, client, tmp_path, loop):
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    async with worker_for(database, MODULE, "--loop", loop) as worker:
        handle = await begun(client, tmp_path, "wait")
        worker.terminate()
        await wait_until(lambda: logged(worker, "worker draining"), "the worker drains")
        (tmp_path / "go").touch()
        assert await handle.result(timeout=10) == "wait: done"
        assert await worker.wait() == 0


@pytest.mark.parametrize("thread", [False, True])
async def test_a_second_signal_stops_at_once_and_gives_the_run_back(
    database, client, tmp_path, thread
):
    async with worker_for(database) as worker:
        handle = await begun(client, tmp_path, "wait", thread=thread)
        worker.terminate()
        await wait_until(lambda: logged(worker, "worker draining"), "the worker drains")
        worker.terminate()
        assert await worker.wait(timeout=10) == 0
    row = await database.fetchrow(
        "select status, owner, wake_at <= now() as due from grctl.runs where run_id = $1",
        handle.run_id,
    )
    assert row is not None
    assert row["owner"] is None
    assert row["due"]
    (tmp_path / "go").touch()
    async with worker_for(database):
        assert await handle.result(timeout=10) == "wait: done"


@pytest.mark.parametrize("how", ["block", "deaf"])
async def test_a_third_signal_breaks_off_what_does_not_stop(database, client, tmp_path, how):
    async with worker_for(database) as worker:
        await begun(client, tmp_path, how)
        worker.terminate()
        if how == "deaf":
            await wait_until(lambda: logged(worker, "worker draining"), "the worker drains")
            worker.terminate()
            await wait_until((tmp_path / "deaf").exists, "the task is cancelled")
            worker.terminate()
        else:
            # Signals that come together are one to the process.
            while worker.returncode is None:
                worker.terminate()
                await asyncio.sleep(0.05)
        assert await worker.wait() == 1


@pytest.mark.slow
async def test_a_task_that_ignores_its_cancellation_does_not_hold_up_a_stop(
    database, client, tmp_path
):
    async with worker_for(database, GRCTL_SHUTDOWN_SECONDS="0") as worker:
        deaf = await begun(client, tmp_path, "deaf")
        worker.terminate()
        assert await worker.wait(timeout=20) == 0
        said = logged(worker, "steps do not stop")
        assert said is not None
        assert said["wf_ids"] == [deaf.run_info.wf_id]


@pytest.mark.parametrize(
    ("how", "thread"),
    [("exit", False), ("interrupt", False), ("odd", False), ("exit", True), ("odd", True)],
)
async def test_what_no_worker_can_handle_ends_it_like_a_crash(
    database, client, tmp_path, how, thread
):
    async with worker_for(database) as worker:
        handle = await begun(client, tmp_path, how, thread=thread)
        assert await worker.wait(timeout=10) == 1
        assert logged(worker, "worker crashed")
    status = "select status from grctl.runs where run_id = $1"
    assert await database.fetchval(status, handle.run_id) == "running"
    async with worker_for(database):
        assert await handle.result(timeout=10) == f"{how}: done"


async def test_it_outlives_a_crash_of_postgres(server_home, tmp_path):
    with EmbeddedPostgres(server_home, ephemeral=True) as server:
        await migrations.upgrade(server.dsn)
        database = Database(server.dsn)
        async with (
            await Connection.connect(server.dsn) as connection,
            worker_for(database) as worker,
        ):
            client = Client(connection)
            places = [tmp_path / str(number) for number in range(5)]
            for place in places:
                place.mkdir()
            handles = [await begun(client, place, "wait") for place in places]
            await asyncio.to_thread(server.restart, "immediate")
            for place in places:
                (place / "go").touch()
            results = await asyncio.gather(*(handle.result(timeout=30) for handle in handles))
            assert results == ["wait: done"] * 5
            worker.terminate()
            assert await worker.wait() == 0
        await database.close()


async def test_it_stops_when_asked_to_while_postgres_is_away(server_home):
    with EmbeddedPostgres(server_home, ephemeral=True) as server:
        await migrations.upgrade(server.dsn)
        async with worker_for(Database(server.dsn), GRCTL_SHUTDOWN_SECONDS="0") as worker:
            await asyncio.to_thread(server.crash)
            await wait_until(
                lambda: logged(worker, "lease not renewed"), "the worker misses its database"
            )
            worker.terminate()
            await worker.wait(timeout=30)
