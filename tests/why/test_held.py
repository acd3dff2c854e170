"""Why a run that a worker holds does not move: each answer, brought about by real workers."""

from __future__ import annotations

from datetime import timedelta

from grctl.client import Client
from grctl.models.run import RunStatus
from grctl.models.why import ReasonKind
from tests.features.looking import has_status
from tests.support import Database, wait_until
from tests.support.ledger import Ledger
from tests.support.runner import RunnerProcess
from tests.why.conftest import SLACK, Why
from tests.workflows import features
from tests.workflows import why as standing


async def test_a_worker_executes_its_step(client: Client, serve, why: Why) -> None:
    worker = await serve(features.sleeper)
    await client.start_workflow("features.sleeper", "s", {"how": "hang"})

    explanation, reason = await why("s", ReasonKind.WORKER_HOLDS)

    assert explanation.status is RunStatus.RUNNING
    assert worker.worker_id in reason.text
    assert "'doze'" in reason.text
    assert "`grctl why` asks the worker" in reason.advice
    assert reason.since is not None
    assert explanation.as_of - timedelta(minutes=1) < reason.since
    later, _ = await why("s", ReasonKind.WORKER_HOLDS)  # its snapshot is younger than its clock
    assert reason.since <= later.as_of + SLACK


async def test_the_step_that_handles_an_event_is_named(
    client: Client, serve, why: Why, database: Database, book: Ledger
) -> None:
    await serve(features.box)
    handle = await client.start_workflow("features.box", "b")
    await has_status(database, "b", "waiting")
    await handle.send("put_slowly", {"item": "gate"})
    await handle.send("finish")

    explanation, _ = await why("b", ReasonKind.TASK_RUNS)

    assert [each.kind for each in explanation.reasons[1:]] == [
        ReasonKind.WORKER_HOLDS,
        ReasonKind.INBOX,
    ]
    assert "'put_slowly'" in explanation.reasons[1].text
    assert explanation.reasons[2].details["unread"] == 2  # the one that is being handled, too
    book.open_gate("gate")
    await has_status(database, "b", "completed")


async def test_a_task_runs_and_since_when(
    client: Client, serve, why: Why, database: Database
) -> None:
    await serve(standing.hanging)
    await client.start_workflow("why.hanging", "h")

    explanation, reason = await why("h", ReasonKind.TASK_RUNS)

    assert reason.text == "task 'hang' runs"
    assert reason.since is not None
    started = await database.fetchval("select claimed_at from grctl.runs where wf_id = 'h'")
    assert started <= reason.since <= explanation.as_of + SLACK
    assert explanation.reasons[1].kind is ReasonKind.WORKER_HOLDS


async def test_a_task_waits_for_its_next_attempt(client: Client, serve, why: Why) -> None:
    await serve(features.sleeper)
    await client.start_workflow("features.sleeper", "s", {"how": "backoff"})

    _, reason = await why("s", ReasonKind.TASK_BACKOFF)

    assert reason.text == "attempt 1 of 2 of task 'fail_often' failed: ValueError: again"
    assert "fail_often" in reason.details["error"]["stack_trace"]
    assert reason.since is not None
    assert reason.until == reason.since + timedelta(hours=1)


async def test_it_sleeps(client: Client, serve, why: Why) -> None:
    await serve(features.sleeper)
    await client.start_workflow("features.sleeper", "s", {"how": "sleep", "seconds": 600})

    explanation, reason = await why("s", ReasonKind.SLEEPS)

    assert reason.since is not None
    assert reason.until == reason.since + timedelta(minutes=10)
    assert len(explanation.reasons) == 2  # the task that is done is none of them


async def test_it_waits_in_its_step_for_a_child(client: Client, serve, why: Why) -> None:
    await serve(standing.asking, standing.silent)
    await client.start_workflow("why.asking", "a")

    _, reason = await why("a", ReasonKind.CHILD_OPEN)

    assert reason.details["child"] == "a/child"
    assert "run_child" in reason.text
    await why("a/child", ReasonKind.AWAITS_EVENT)


async def test_a_cancel_that_the_step_has_not_seen_the_end_of(
    client: Client, serve, why: Why, book: Ledger
) -> None:
    await serve(features.sleeper)
    handle = await client.start_workflow("features.sleeper", "s", {"how": "gate"})
    await why("s", ReasonKind.TASK_RUNS)
    await handle.cancel("no longer wanted")

    explanation, reason = await why("s", ReasonKind.CANCEL_UNSEEN)

    assert "'doze'" in reason.text
    assert "grctl terminate" in reason.advice
    assert reason.details["reason"] == "no longer wanted"
    assert [each.kind for each in explanation.reasons[1:]] == [
        ReasonKind.TASK_RUNS,
        ReasonKind.WORKER_HOLDS,
    ]
    book.open_gate("s")
    _, reason = await why("s", ReasonKind.ENDED)
    assert reason.text == "the run was cancelled: no longer wanted"


async def test_its_worker_is_silent_and_nobody_is_there_to_take_over(
    client: Client, launch, serve, why: Why, database: Database, book: Ledger
) -> None:
    worker = await launch(lease=1.0)
    await client.start_workflow("features.sleeper", "s", {"how": "gate"})
    await wait_until(lambda: book.count("at gate"), "the task runs")
    worker.stop()

    explanation, reason = await why("s", ReasonKind.WORKER_SILENT)

    assert "no other worker is up" in reason.advice
    assert reason.since is not None
    assert reason.since <= explanation.as_of + SLACK
    worker.kill()
    await worker.wait()
    await serve(features.sleeper)

    # It is taken over, and says of the task what became of it.
    explanation, reason = await why("s", ReasonKind.CRASH_LOOP, anywhere=True)
    assert reason.details["crashes"] == 1
    book.open_gate("s")
    await has_status(database, "s", "completed")


async def test_a_worker_is_silent_and_another_takes_over(
    client: Client, launch, why: Why, database: Database, book: Ledger
) -> None:
    worker = await launch(lease=1.0)
    await client.start_workflow("features.sleeper", "s", {"how": "gate"})
    await wait_until(lambda: book.count("at gate"), "the task runs")
    await launch(lease=60.0)  # looks at the others every 20 seconds
    worker.stop()

    _, reason = await why("s", ReasonKind.WORKER_SILENT)

    assert "another worker takes its runs over" in reason.advice


async def test_a_crash_loop_and_its_count(client: Client, why: Why, database: Database) -> None:
    """One worker that was lost is no loop: what holds the run up now is the main reason."""
    await client.database.fetch("types", "register", "why.lethal", "die", ["die"], [], [], [])
    await client.start_workflow("why.lethal", "l")
    environment = {"GRCTL_LEASE_SECONDS": "1", "GRCTL_POLL_SECONDS": "0.2"}
    for crashes in (1, 2):
        worker = RunnerProcess("tests.workflows.why", database_url=database.dsn, env=environment)
        await worker.launch()
        assert await worker.wait() == 9
        # Nobody is up to take over: what a worker would do when the lease is over.
        await wait_until(
            lambda: database.fetchval("select count(*) from grctl.take_over()"), "it is taken over"
        )

        main = ReasonKind.NO_WORKER if crashes == 1 else ReasonKind.CRASH_LOOP
        explanation, _ = await why("l", main)

        assert len(explanation.reasons) == 2
        reasons = {reason.kind: reason for reason in explanation.reasons}
        loop = reasons[ReasonKind.CRASH_LOOP]
        assert loop.details == {"crashes": crashes, "step": "die"}
        assert "GRCTL_MAX_STEP_CRASHES" in loop.advice
        assert "was lost" in reasons[ReasonKind.NO_WORKER].text

    await database.execute("update grctl.runs set crashes = 10")
    async with RunnerProcess("tests.workflows.why", database_url=database.dsn, env=environment):
        _, reason = await why("l", ReasonKind.POISONED)
    assert "PoisonedStep" in reason.text
    assert "grctl retry" in reason.advice
