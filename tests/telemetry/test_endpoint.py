"""What a worker process says on its metrics port."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from grctl.client import Client
from grctl.dev import EmbeddedPostgres
from grctl.postgres import migrations
from grctl.postgres.depths import DepthGauge
from tests.support import Database, WorkerProcess, run_cli, wait_until
from tests.telemetry.conftest import MODULE, Watched, WatchedWorker, is_waiting, logged

LONG = 30


async def has(worker: WatchedWorker, **expected: float) -> bool:
    samples = await worker.samples()
    return all(samples.get(name) == value for name, value in expected.items())


async def is_ready(worker: WatchedWorker) -> bool:
    answer = await worker.get("/readyz")
    return answer.status_code == 200 and answer.json()["ok"]


async def test_a_run_is_counted_from_its_start_to_its_end(
    client: Client, watched: Watched, tmp_path: Path
):
    worker = await watched()
    given = {"items": ["book", "lamp"], "place": str(tmp_path)}
    handle = await client.start_workflow("observed.order", "order-1", given)
    await wait_until(lambda: is_waiting(client, "order-1"), "the order waits", timeout=LONG)
    await handle.send("picked_up", {"fails": False})
    assert await handle.result(timeout=LONG) == "delivered"

    ended = "grctl_run_seconds_count status=completed type=observed.order"

    async def counted() -> dict[str, float] | None:
        """A look at a worker that is at rest, and not kept from answering by its machine."""
        samples = await worker.samples()
        at_rest = samples["grctl_runs_held"] == 0 and samples["grctl_database_up"] == 1
        return samples if at_rest and samples.get(ended) == 1 else None

    samples = await wait_until(counted, "the run's end is counted", timeout=LONG)
    expected = {
        "grctl_runs_started_total type=observed.order": 1,
        "grctl_runs_started_total type=observed.parcel": 1,
        "grctl_run_start_lag_seconds_count type=observed.order": 1,
        "grctl_run_seconds_count status=completed type=observed.parcel": 1,
        "grctl_claims_total cause=start": 2,
        "grctl_claims_total cause=event": 1,
        "grctl_task_seconds_count outcome=completed task=reserve": 2,
        "grctl_task_seconds_count outcome=completed task=weigh": 2,
        "grctl_task_seconds_count outcome=retried task=charge": 1,
        "grctl_task_seconds_count outcome=completed task=charge": 1,
        "grctl_step_seconds_count outcome=completed step=begin type=observed.order": 1,
        "grctl_step_seconds_count outcome=completed step=pay type=observed.order": 1,
        "grctl_step_seconds_count outcome=completed step=picked_up type=observed.order": 1,
        "grctl_concurrency": 500,
        "grctl_lease_held": 1,
        "grctl_journal_waiting": 0,
        "grctl_workers state=up": 1,
        "grctl_inbox_messages": 0,
        "grctl_type_workers type=observed.order": 1,
        "grctl_due_runs type=observed.order": 0,
    }
    assert {name: samples.get(name) for name in expected} == expected
    # What was written is what was counted: 8 outcomes of tasks and ends of steps … and the child.
    rows = samples["grctl_journal_batch_rows_sum"]
    assert rows == await client.database.pool.fetchval("select count(*) from grctl.events")
    assert 0 < samples["grctl_journal_commit_seconds_sum"] < LONG
    assert 0 < samples["grctl_lease_left_seconds"] <= 30


async def test_a_failed_run_and_a_refused_one_are_told_apart(
    client: Client, watched: Watched, tmp_path: Path
):
    worker = await watched()
    given = {"items": ["book"], "place": str(tmp_path)}
    handle = await client.start_workflow("observed.order", "order-1", given)
    await wait_until(lambda: is_waiting(client, "order-1"), "the order waits", timeout=LONG)
    await handle.send("picked_up", {"fails": True})
    failed = "grctl_step_seconds_count outcome=failed step=picked_up type=observed.order"
    ended = "grctl_run_seconds_count status=failed type=observed.order"
    await wait_until(lambda: has(worker, **{failed: 1, ended: 1}), "it is counted", timeout=LONG)


async def test_a_backlog_that_nobody_serves_shows_its_age(
    client: Client, database: Database, watched: Watched
):
    worker = await watched()
    await database.execute(
        "insert into grctl.workflow_types (wf_type, start_step, step_names, event_names,"
        " query_names, update_names) values ('lonely', 's', '{}', '{}', '{}', '{}')"
    )
    await client.start_workflow("lonely", "nobody-comes")
    await database.execute(
        "update grctl.runs set wake_at = now() - interval '1 hour' where wf_type = 'lonely'"
    )

    async def is_seen() -> bool:
        samples = await worker.samples()
        return (
            samples.get("grctl_due_runs type=lonely") == 1
            and samples["grctl_due_oldest_seconds type=lonely"] >= 3600
            and samples["grctl_type_workers type=lonely"] == 0
        )

    await wait_until(is_seen, "the backlog is seen", timeout=LONG)


async def test_the_database_is_asked_once_a_second_however_often_one_looks(
    client: Client, database: Database
):
    gauge = DepthGauge(client.database)
    first = await gauge.read()
    assert await gauge.read() is first
    await database.execute(
        "insert into grctl.inbox (run_id, no, kind, name)"
        " values (gen_random_uuid(), 1, 'event', 'e')"
    )

    async def is_seen() -> bool:
        return (await gauge.read()).messages == 1

    await wait_until(is_seen, "it is asked again", timeout=LONG)


async def test_it_is_alive_and_ready(watched: Watched):
    worker = await watched()
    alive = await worker.get("/healthz")
    assert (alive.status_code, alive.json()["reasons"]) == (200, [])
    await wait_until(lambda: is_ready(worker), "it is ready", timeout=LONG)
    assert (await worker.get("/elsewhere")).status_code == 404


async def test_a_loop_that_stands_still_is_seen_while_it_does(client: Client, watched: Watched):
    worker = await watched(GRCTL_LEASE_SECONDS="2", GRCTL_MAX_LOOP_STALL_SECONDS="8")
    await client.start_workflow("observed.blocking", "b", {"seconds": 7.5})

    async def is_dead() -> bool:
        answer = await worker.get("/healthz")
        return answer.status_code == 503 and "stood still" in answer.json()["reasons"][0]

    await wait_until(is_dead, "the stall is told", timeout=LONG)
    # The scrape still comes, without what only the loop could ask for; the lease is held.
    samples = await worker.samples()
    assert samples["grctl_database_up"] == 0
    assert samples["grctl_loop_silent_seconds"] > 4
    assert samples["grctl_loop_stalls_total"] >= 1
    assert samples["grctl_lease_held"] == 1


async def test_a_database_that_is_away_makes_it_unready_but_not_dead(server_home: Path):
    with EmbeddedPostgres(server_home) as server:
        await migrations.upgrade(server.dsn)
        process = WorkerProcess(
            MODULE, "--metrics-port", "0", database_url=server.dsn,
            env={"GRCTL_LEASE_SECONDS": "2"},
        )  # fmt: skip
        async with process:
            worker = WatchedWorker(process, str(logged(process, "metrics served")["url"]))
            await wait_until(lambda: is_ready(worker), "it is ready", timeout=LONG)
            await asyncio.to_thread(server.stop)
            answer = await worker.get("/readyz")
            assert answer.status_code == 503
            assert "the database does not answer" in " ".join(answer.json()["reasons"])
            assert (await worker.samples())["grctl_database_up"] == 0

            async def has_no_lease() -> bool:
                return (await worker.samples())["grctl_lease_held"] == 0

            await wait_until(has_no_lease, "the lease has run out", timeout=LONG)
            assert (await worker.get("/healthz")).status_code == 200
            await asyncio.to_thread(server.start)

            await wait_until(lambda: is_ready(worker), "it is ready again", timeout=LONG)


async def test_a_schema_that_is_newer_is_told_as_that(watched: Watched, database: Database):
    worker = await watched()
    await database.execute("update grctl.alembic_version set version_num = '9999'")
    answer = await worker.get("/readyz")
    assert answer.status_code == 503
    [reason] = answer.json()["reasons"]
    assert "9999" in reason
    assert "does not answer" not in reason
    assert (await worker.get("/healthz")).status_code == 200


async def test_a_port_that_is_taken_is_named(database: Database):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = await run_cli(
            "worker", MODULE, "--metrics-port", str(port), database_url=database.dsn
        )
    assert ended.code == 2
    assert f"port {port}" in ended.err
    assert "GRCTL_METRICS_PORT" in ended.err
