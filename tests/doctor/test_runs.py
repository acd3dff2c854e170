"""Findings about workers, runs and tables, each brought about by real ones."""

from __future__ import annotations

import pytest

from grctl.client import Client
from grctl.models.findings import Severity
from grctl.postgres import doctor_runs, doctor_tables
from tests.doctor.conftest import Examine
from tests.features.looking import has_status
from tests.support import Database, wait_until
from tests.support.ledger import Ledger
from tests.support.runner import RunnerProcess
from tests.workflows import features
from tests.workflows.why import silent


async def test_a_busy_system_has_no_findings(
    client: Client, serve, examined: Examine, database: Database, book: Ledger
) -> None:
    await serve()
    await client.run_workflow("features.child", "c")
    await client.start_workflow("features.sleeper", "s", {"how": "gate"})
    await client.start_workflow("features.box", "b")
    await has_status(database, "b", "waiting")
    await wait_until(lambda: book.count("at gate"), "the task runs")
    assert await examined() == {}
    book.open_gate("s")


async def test_a_dead_worker_whose_runs_nobody_takes_over(
    client: Client, launch, examined: Examine, book: Ledger
) -> None:
    worker = await launch(lease=1.0)
    await client.start_workflow("features.sleeper", "s", {"how": "gate"})
    await wait_until(lambda: book.count("at gate"), "the task runs")
    worker.kill()
    await worker.wait()

    async def is_found() -> bool:
        return "dead_worker" in await examined()

    await wait_until(is_found, "the dead worker is found", timeout=30)
    found = (await examined())["dead_worker"]
    assert found.severity is Severity.ERROR
    assert found.text.endswith("takes over its 1 run")
    assert "start a worker" in found.advice


async def test_a_worker_whose_event_loop_is_blocked(
    client: Client, examined: Examine, database: Database
) -> None:
    async def is_found() -> bool:
        return "stalled_worker" in await examined()

    async with RunnerProcess("tests.workflows.why", database_url=database.dsn):
        await client.start_workflow("why.standing", "s", {"how": "block"})
        await wait_until(is_found, "the blocked worker is found", timeout=30)
        found = (await examined())["stalled_worker"]
    assert "its one run does not move" in found.text
    assert any(frame.endswith("in block") for frame in found.details["stack"])


async def test_many_workers_that_were_lost(
    client: Client, launch, examined: Examine, database: Database
) -> None:
    workers = [await launch(lease=1.0) for _ in range(3)]
    for worker in workers:
        worker.kill()
        await worker.wait()

    async def taken_over() -> bool:
        await database.fetch("select * from grctl.take_over()")
        return bool(
            await database.fetchval(
                "select count(*) = 3 from grctl.workers where end_reason = 'lost'"
            )
        )

    await wait_until(taken_over, "they are taken over", timeout=30)
    found = await examined()
    assert set(found) == {"lost_workers"}
    assert found["lost_workers"].text.startswith("3 workers were lost within the last hour")


async def test_runs_without_a_worker_for_their_type(
    client: Client, serve, examined: Examine
) -> None:
    worker = await serve(silent)
    await serve(features.box)
    await worker.stop(shutdown_timeout=0)
    for n in range(3):
        await client.start_workflow("why.silent", f"s{n}")

    found = await examined()

    assert set(found) == {"unserved_type"}
    assert found["unserved_type"].severity is Severity.ERROR
    assert found["unserved_type"].text.startswith("3 runs of the type 'why.silent' are due")

    await (await client.get_handle("s1")).terminate()
    await (await client.get_handle("s2")).terminate()
    one = (await examined())["unserved_type"]
    assert one.text.startswith("1 run of the type 'why.silent' is due, and no worker")


async def test_a_backlog_of_full_workers(
    client: Client, serve, examined: Examine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_runs, "LONG_DUE_SECONDS", 0.0)
    await serve(features.sleeper, concurrency=1)
    for n in range(2):
        await client.start_workflow("features.sleeper", f"s{n}", {"how": "hang"})
    await has_status(database, "s0", "running")

    found = (await examined())["backlog"]

    assert "its workers hold 1 of 1" in found.text
    assert "GRCTL_CONCURRENCY" in found.advice


async def test_a_step_that_has_run_for_too_long_and_a_cancel_that_it_does_not_see(
    client: Client, serve, examined: Examine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_runs, "LONG_STEP_SECONDS", 0.0)
    monkeypatch.setattr(doctor_runs, "LONG_CANCEL_SECONDS", 0.0)
    await serve(features.sleeper)
    handle = await client.start_workflow("features.sleeper", "s", {"how": "hang"})
    await has_status(database, "s", "running")
    assert set(await examined()) == {"long_runs"}
    await handle.cancel()

    found = await examined()

    assert set(found) == {"long_runs", "unseen_cancels"}
    assert found["long_runs"].text.startswith("1 run has been held by its worker")
    assert found["unseen_cancels"].text.startswith("1 run was to be cancelled")
    assert found["unseen_cancels"].text.endswith("its step goes on: s")
    assert "grctl terminate" in found["unseen_cancels"].advice


async def test_runs_of_a_worker_that_has_ended(
    client: Client, serve, examined: Examine, database: Database
) -> None:
    await serve(features.sleeper)
    await client.start_workflow("features.sleeper", "s", {"how": "delay"})
    await has_status(database, "s", "delayed")
    # By hand, as there is no other way: that it cannot happen is the point of the fence.
    await database.execute("update grctl.runs set owner = 999, wake_at = null, status = 'running'")
    found = (await examined())["orphaned_runs"]
    assert found.severity is Severity.ERROR
    assert found.details["ids"] == ["s"]
    assert found.text.startswith("1 run belongs to a worker that has ended")


async def test_a_crash_loop_and_what_was_given_up_for_one(
    client: Client, launch, examined: Examine, database: Database, book: Ledger
) -> None:
    await launch(lease=60.0)
    worker = await launch(lease=60.0)
    await client.start_workflow("features.sleeper", "s", {"how": "gate"})
    await wait_until(lambda: book.count("at gate"), "the task runs")
    for crashes in (1, 2):
        owner = await database.fetchval("select owner from grctl.runs")
        await database.execute("select grctl.release_worker($1, 'lost')", owner)
        await wait_until(
            lambda n=crashes: book.count("at gate") == n + 1, "the next worker has it", timeout=30
        )
    found = (await examined())["crash_loop"]
    assert found.text == "1 run was in its step when workers were lost, 2 times: s"

    await database.execute("update grctl.runs set crashes = 10")
    owner = await database.fetchval("select owner from grctl.runs")
    await database.execute("select grctl.release_worker($1, 'lost')", owner)
    await has_status(database, "s", "failed")
    found = await examined()
    assert found["poisoned_runs"].details["ids"] == ["s"]
    assert found["poisoned_runs"].text.startswith("1 run failed within the last week because its")
    assert "crash_loop" not in found
    del worker


async def test_messages_that_nobody_will_handle(
    client: Client, serve, examined: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_runs, "MANY_MESSAGES", 2)
    await serve(features.box)
    handle = await client.start_workflow("features.box", "b", {"gate": "g"})
    for _ in range(2):
        await handle.send("put", {"item": "late"})
    await handle.terminate()
    found = (await examined())["unhandled_messages"]
    assert found.details == {"messages": 2, "runs": 1}


async def test_a_table_that_nobody_vacuums(
    examined: Examine, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_tables, "LEAST_DEAD", 1000)
    await database.execute("alter table grctl.store set (autovacuum_enabled = off)")
    await database.execute(
        "insert into grctl.store select gen_random_uuid(), 'k', '1' from generate_series(1, 1000)"
    )
    for _ in range(2):
        await database.execute("update grctl.store set value = '2'")

    async def is_found() -> bool:
        await database.close()  # hands in what it has done
        return "bloat" in await examined()

    await wait_until(is_found, "the dead rows are found", timeout=30)
    found = await examined()
    assert set(found) == {"bloat", "autovacuum_disabled"}
    assert found["bloat"].details["dead"] >= 1000
    assert "vacuum grctl.store" in found["bloat"].advice
    await database.execute(found["autovacuum_disabled"].advice)
    assert "autovacuum_disabled" not in await examined(), "the advice is a statement that helps"


async def test_a_table_that_a_crash_empties(examined: Examine, database: Database) -> None:
    await database.execute("alter table grctl.store set unlogged")
    found = await examined()
    assert set(found) == {"unlogged"}
    assert found["unlogged"].severity is Severity.ERROR
    await database.execute(found["unlogged"].advice)
    assert not await examined(), "the advice is a statement that helps"
