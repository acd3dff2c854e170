"""Spans of a program that brings its own tracer provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased
from opentelemetry.trace import StatusCode

from grctl.client import Client, Connection
from grctl.errors import WorkflowError
from grctl.models import RetryPolicy
from grctl.settings import Settings
from grctl.worker import Context, Worker, task
from grctl.workflow import Directive, Workflow
from tests.support import wait_until

LONG = 30

Program = Callable[..., Awaitable[Client]]


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest_asyncio.fixture
async def program(
    settings: Settings, exporter: InMemorySpanExporter
) -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """``await program(workflow, sampler=…)``: a worker and a client in one traced process."""
    ends: list[Callable[[], Awaitable[None]]] = []

    async def start(*workflows: Workflow, provider: Any = None, **options: Any) -> Client:
        if provider is None:
            provider = TracerProvider(**options)
            provider.add_span_processor(SimpleSpanProcessor(exporter))
        connection = await Connection.connect(settings=settings, tracer_provider=provider)
        worker = Worker(workflows, connection)
        working = asyncio.create_task(worker.start())

        async def end() -> None:
            await worker.stop(shutdown_timeout=0)
            await working
            await connection.close()

        ends.append(end)
        await worker.wait_until_ready()
        return Client(connection)

    yield start
    for end in ends:
        await end()


def spans_named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.name == name]


async def ended(exporter: InMemorySpanExporter, wf_type: str, runs: int = 1) -> None:
    await wait_until(
        lambda: len(spans_named(exporter, f"run {wf_type}")) == runs,
        f"{runs} runs have ended",
        timeout=LONG,
    )


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even its text")


@task
async def break_down() -> None:
    raise UnspeakableError


async def test_an_error_without_a_text_stays_the_error_that_it_was(
    program: Program, exporter: InMemorySpanExporter
):
    workflow = Workflow("unspeakable")

    @workflow.start()
    async def begin(ctx: Context) -> Directive:
        with pytest.raises(UnspeakableError):
            await break_down()
        raise UnspeakableError

    client = await program(workflow)
    handle = await client.start_workflow("unspeakable", "w")
    with pytest.raises(WorkflowError):
        await handle.result(timeout=LONG)
    await ended(exporter, "unspeakable")
    for name in ("break_down", "unspeakable begin"):
        (span,) = spans_named(exporter, name)
        assert span.status.status_code is StatusCode.ERROR
        assert span.events[0].attributes["exception.type"] == "UnspeakableError"


async def test_each_attempt_of_a_step_is_a_span(program: Program, exporter: InMemorySpanExporter):
    workflow = Workflow("retried")
    attempts = []

    @workflow.start()
    async def begin(ctx: Context) -> Directive:
        return ctx.next.step(risky)

    @workflow.step(retry_policy=RetryPolicy(max_attempts=2, initial_delay_ms=1))
    async def risky(ctx: Context) -> Directive:
        attempts.append(ctx.run.attempt)
        if len(attempts) == 1:
            raise ValueError("once")
        return ctx.next.complete("done")

    client = await program(workflow)
    assert await client.run_workflow("retried", "w") == "done"
    await ended(exporter, "retried")
    first, second = spans_named(exporter, "retried risky")
    assert [s.attributes["grctl.outcome"] for s in (first, second)] == [
        "step.attempt_failed",
        "step.completed",
    ]
    assert first.context.span_id != second.context.span_id
    assert first.parent == second.parent


async def test_a_step_that_is_stopped_by_its_timeout_says_so(
    program: Program, exporter: InMemorySpanExporter
):
    workflow = Workflow("slow")

    @workflow.start(timeout=timedelta(milliseconds=100))
    async def begin(ctx: Context) -> Directive:
        await asyncio.Event().wait()
        return ctx.next.complete(None)

    client = await program(workflow)
    handle = await client.start_workflow("slow", "w")
    with pytest.raises(WorkflowError):
        await handle.result(timeout=LONG)
    await ended(exporter, "slow")
    (span,) = spans_named(exporter, "slow begin")
    assert span.attributes["grctl.outcome"] == "step.timeout"
    assert span.status.status_code is StatusCode.ERROR


async def test_a_chain_of_runs_is_one_trace_below_the_callers_span(
    program: Program, exporter: InMemorySpanExporter
):
    workflow = Workflow("chain")

    @workflow.start()
    async def begin(ctx: Context, left: int) -> Directive:
        if left:
            return ctx.next.continue_as_new(left=left - 1)
        return ctx.next.complete("end")

    client = await program(workflow)
    tracer = trace.get_tracer("caller", tracer_provider=TracerProvider())
    with tracer.start_as_current_span("request") as request:
        assert await client.run_workflow("chain", "w", {"left": 2}) == "end"
    await ended(exporter, "chain", runs=3)
    (start,) = spans_named(exporter, "start chain")
    assert start.parent.span_id == request.get_span_context().span_id
    steps = spans_named(exporter, "chain begin")
    assert {step.parent.span_id for step in steps} == {start.context.span_id}
    assert len({step.context.span_id for step in steps}) == 3
    assert {span.context.trace_id for span in exporter.get_finished_spans()} == {
        request.get_span_context().trace_id
    }


async def test_many_starts_by_one_statement_are_one_span(
    program: Program, exporter: InMemorySpanExporter
):
    workflow = Workflow("bulk")

    @workflow.start()
    async def begin(ctx: Context) -> Directive:
        return ctx.next.complete(None)

    client = await program(workflow)
    await client.start_workflows([{"type": "bulk", "id": f"w{n}"} for n in range(3)])
    await ended(exporter, "bulk", runs=3)
    (start,) = spans_named(exporter, "start workflows")
    assert start.attributes["grctl.starts"] == 3
    steps = spans_named(exporter, "bulk begin")
    assert {step.parent.span_id for step in steps} == {start.context.span_id}


@pytest.mark.parametrize("ratio", [0.25, 0.5])
async def test_runs_without_a_caller_are_sampled_as_often_as_was_asked_for(
    program: Program, exporter: InMemorySpanExporter, settings: Settings, ratio: float
):
    workflow = Workflow("sampled")

    @workflow.start()
    async def begin(ctx: Context) -> Directive:
        return ctx.next.step(rest)

    @workflow.step()
    async def rest(ctx: Context) -> Directive:
        return ctx.next.complete(None)

    await program(workflow, sampler=ParentBased(TraceIdRatioBased(ratio)))
    count = 200
    async with await Connection.connect(settings=settings) as untraced:
        client = Client(untraced)
        starts = [{"type": "sampled", "id": f"w{n}"} for n in range(count)]
        handles = await client.start_workflows(starts)
        await asyncio.gather(*(handle.result(timeout=LONG) for handle in handles))

    def traces_of(step: str) -> set[int]:
        return {span.context.trace_id for span in spans_named(exporter, f"sampled {step}")}

    # All of a run or nothing of it; and within six standard deviations of what was asked for.
    begun = traces_of("begin")
    await wait_until(lambda: traces_of("rest") == begun, "they end where they began", timeout=LONG)
    assert abs(len(begun) - count * ratio) < 6 * (count * ratio * (1 - ratio)) ** 0.5


async def test_what_is_not_sampled_runs_all_the_same(
    program: Program, exporter: InMemorySpanExporter
):
    workflow = Workflow("unsampled")

    @workflow.start()
    async def begin(ctx: Context) -> Directive:
        return ctx.next.complete("done")

    client = await program(workflow, sampler=ALWAYS_OFF)
    assert await client.run_workflow("unsampled", "w") == "done"
    assert exporter.get_finished_spans() == ()
    carried = await client.database.pool.fetchval("select trace from grctl.runs")
    assert int(carried[-2:], 16) & trace.TraceFlags.SAMPLED == 0  # nor is what comes after


async def test_the_api_without_the_sdk_is_enough_to_run(program: Program):
    workflow = Workflow("bare")

    @workflow.start()
    async def begin(ctx: Context) -> Directive:
        return ctx.next.complete("done")

    client = await program(workflow, provider=trace.NoOpTracerProvider())
    assert await client.run_workflow("bare", "w") == "done"
    assert await client.database.pool.fetchval("select trace from grctl.runs") is None


waiting = Workflow("waiting")


@waiting.start()
async def wait_for_news(ctx: Context) -> Directive:
    return ctx.next.wait()


@waiting.event()
async def news(ctx: Context) -> Directive:
    return ctx.next.complete()


async def test_a_step_that_handles_an_event_is_linked_to_its_sender(
    program: Program, exporter: InMemorySpanExporter
):
    client = await program(waiting)
    tracer = client.connection.tracing._tracer
    handle = await client.start_workflow("waiting", "w")
    with tracer.start_as_current_span("the sender") as sender:
        await handle.send("news")
    await handle.result(timeout=LONG)
    await ended(exporter, "waiting")
    [step] = spans_named(exporter, "waiting news")
    assert [link.context.span_id for link in step.links] == [sender.get_span_context().span_id]
    assert step.context.trace_id != sender.get_span_context().trace_id
    [first] = spans_named(exporter, "waiting wait_for_news")
    assert first.links == ()
