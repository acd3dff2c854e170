"""One trace from a client's start through steps, tasks, workers and children, over real OTLP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from grctl.client import Client
from tests.support import Database, WorkerProcess, run_cli, wait_until
from tests.telemetry.collector import SpanCollector
from tests.telemetry.conftest import MODULE, Watched, is_waiting, logged

LONG = 30


@pytest.fixture
def collector() -> Iterator[SpanCollector]:
    with SpanCollector() as running:
        yield running


def tracing_worker(database: Database, collector: SpanCollector, **env: str) -> WorkerProcess:
    short = {"GRCTL_LEASE_SECONDS": "1", "GRCTL_POLL_SECONDS": "0.2"}
    return WorkerProcess(MODULE, database_url=database.dsn, env=short | collector.environment | env)


async def start(database: Database, collector: SpanCollector, wf_type: str, **given: object):
    ended = await run_cli(
        "start", wf_type, "--id", "it", "--input", json.dumps(given),
        database_url=database.dsn, env=collector.environment | {"OTEL_SERVICE_NAME": "shop"},
    )  # fmt: skip
    assert ended.code == 0, ended.err


async def test_a_trace_goes_from_the_start_to_the_last_step_and_into_the_child(
    client: Client, database: Database, collector: SpanCollector, tmp_path: Path
):
    async with tracing_worker(database, collector) as worker:
        given = {"items": ["book", "lamp"], "place": str(tmp_path)}
        await start(database, collector, "observed.order", **given)
        await wait_until(lambda: is_waiting(client, "it"), "the order waits", timeout=LONG)
        handle = await client.get_workflow_handle("it")
        await handle.send("picked_up", {"fails": False})
        await handle.result(timeout=LONG)
        await wait_until(lambda: collector.named("run observed.order"), "all spans", timeout=LONG)

    beginning = collector.the("start observed.order")
    assert (beginning.service, beginning.parent_id) == ("shop", "")
    assert {span.trace_id for span in collector.spans} == {beginning.trace_id}
    steps = {
        name: collector.the(f"observed.order {name}") for name in ("begin", "pay", "picked_up")
    }
    assert {step.parent_id for step in steps.values()} == {beginning.span_id}
    reserved = collector.named("reserve")
    assert [span.parent_id for span in reserved] == [steps["begin"].span_id] * 2
    charged = collector.named("charge")
    assert [span.parent_id for span in charged] == [steps["pay"].span_id] * 2
    assert [(span.is_error, span.events, span.attributes["grctl.attempt"]) for span in charged] == [
        (True, ("DeclinedError",), 1),
        (False, (), 2),
    ]
    packing = collector.the("observed.parcel pack")
    assert packing.parent_id == steps["pay"].span_id
    assert {span.parent_id for span in collector.named("weigh")} == {
        steps["begin"].span_id,
        packing.span_id,
    }
    whole = collector.the("run observed.order")
    assert whole.attributes["grctl.status"] == "completed"
    assert whole.seconds >= sum(step.seconds for step in steps.values())
    assert packing.attributes["grctl.workflow.id"] == "it-parcel"
    # And the logs say where they belong: the worker's, ctx.logger's and any other, in threads too.
    for event, span in (("reserving lamp", reserved), ("weighing book", collector.named("weigh"))):
        line = logged(worker, event)
        assert line["trace_id"] == beginning.trace_id
        assert line["span_id"] in {each.span_id for each in span}
        assert (line["wf_id"], line["step"]) == ("it", "begin")
    assert logged(worker, "reserved all")["span_id"] == steps["begin"].span_id


async def test_after_a_crash_the_next_worker_goes_on_in_the_same_span(
    client: Client, database: Database, collector: SpanCollector, tmp_path: Path
):
    async with tracing_worker(database, collector) as first:
        await start(database, collector, "observed.dying", place=str(tmp_path))
        await wait_until(lambda: collector.named("note"), "the first task is told", timeout=LONG)
        (before,) = collector.named("note")
        first.kill()
        await first.wait()
    async with tracing_worker(database, collector, OTEL_SERVICE_NAME="second"):
        (tmp_path / "go on").touch()
        handle = await client.get_workflow_handle("it")
        assert await handle.result(timeout=LONG) == "survived"
        await wait_until(lambda: collector.named("run observed.dying"), "all spans", timeout=LONG)

    step = collector.the("observed.dying live_twice")
    assert (step.service, step.attributes["grctl.replayed"]) == ("second", True)
    assert step.trace_id == collector.the("start observed.dying").trace_id
    # The task that was recorded is not told again; the one that was cut off and the new one are.
    assert [(span.service, span.parent_id) for span in collector.named("note")] == [
        (before.service, step.span_id),
        ("second", step.span_id),
    ]


async def test_a_run_that_nobody_traced_has_one_trace_on_all_its_workers(
    client: Client, database: Database, collector: SpanCollector, tmp_path: Path
):
    given = {"items": ["book"], "place": str(tmp_path)}
    async with tracing_worker(database, collector):
        await client.start_workflow("observed.order", "it", given)
        await wait_until(lambda: is_waiting(client, "it"), "the order waits", timeout=LONG)
        await wait_until(lambda: collector.named("observed.order pay"), "the span", timeout=LONG)
    async with tracing_worker(database, collector, OTEL_SERVICE_NAME="second"):
        handle = await client.get_workflow_handle("it")
        await handle.send("picked_up", {"fails": True})
        await wait_until(lambda: collector.named("run observed.order"), "all spans", timeout=LONG)

    assert len({span.trace_id for span in collector.spans}) == 1
    assert await database.fetchval("select count(trace) from grctl.runs where wf_id = 'it'") == 0
    failed = collector.the("observed.order picked_up")
    assert (failed.service, failed.is_error, failed.events) == ("second", True, ("DeclinedError",))
    assert collector.the("run observed.order").is_error


async def test_without_tracing_nothing_is_carried_and_lines_still_have_their_run(
    client: Client, database: Database, watched: Watched, tmp_path: Path
):
    worker = await watched()
    given = {"items": ["book"], "place": str(tmp_path)}
    handle = await client.start_workflow("observed.order", "it", given)
    await wait_until(lambda: is_waiting(client, "it"), "the order waits", timeout=LONG)
    assert await database.fetchval("select count(trace) from grctl.runs") == 0
    line = logged(worker.process, "weighing book")
    assert (line["run_id"], line["wf_type"]) == (str(handle.run_id), "observed.order")
    assert "trace_id" not in line


async def test_an_exporter_that_is_not_there_is_named(database: Database):
    env = {"GRCTL_TRACING": "1", "OTEL_TRACES_EXPORTER": "carrier-pigeon"}
    ended = await run_cli("worker", MODULE, database_url=database.dsn, env=env)
    assert ended.code == 2
    assert "carrier-pigeon" in ended.err
    assert "otlp" in ended.err
