"""A worker dies in a step, and the next one has other code: it goes on rightly, or says so.

Nothing is done again that has a recorded outcome, but for a call that moved to another branch.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from random import Random
from typing import Any
from unittest import mock

import pytest

from grctl.client import Client
from grctl.errors import StepFailed
from grctl.models import Directive, RetryPolicy
from grctl.settings import Settings
from grctl.worker import Context, task
from grctl.worker import worker as worker_module
from grctl.workflow import Workflow
from tests.chaos.simulation.clock import SimulatedLoop, simulate
from tests.chaos.simulation.link import CALM, Network, connection_over
from tests.chaos.simulation.processes import Process, SimulatedLease
from tests.chaos.simulation.server import Server
from tests.support import Database

Step = Callable[[Context], Awaitable[Directive]]

begun: Counter[str] = Counter()
is_open = False


@task
async def book(what: str) -> str:
    begun[what] += 1
    return f"{what} booked"


@task
async def pay(what: str) -> str:
    begun[what] += 1
    return f"{what} paid"


@task(name="book", retry_policy=RetryPolicy(max_attempts=7))
async def book_patiently(what: str) -> str:
    begun[what] += 1
    return f"{what} booked"


@task
async def gate() -> str:
    """Where the first worker dies."""
    begun["gate"] += 1
    while not is_open:  # noqa: ASYNC110 - simulated time
        await asyncio.sleep(0.5)
    return "through"


async def original(ctx: Context) -> Directive:
    flight = await book("flight")
    rest = await asyncio.gather(book("hotel"), pay("tour"))
    return ctx.next.complete([flight, *rest, await gate()])


async def in_sequence(ctx: Context) -> Directive:
    flight = await book("flight")
    rest = [await book("hotel"), await pay("tour")]
    return ctx.next.complete([flight, *rest, await gate()])


async def patient(ctx: Context) -> Directive:
    flight = await book_patiently("flight")
    rest = await asyncio.gather(book("hotel"), pay("tour"))
    return ctx.next.complete([flight, *rest, await gate()])


async def more_at_the_end(ctx: Context) -> Directive:
    flight = await book("flight")
    rest = await asyncio.gather(book("hotel"), pay("tour"))
    done = [flight, *rest, await gate()]
    await pay("tip")
    return ctx.next.complete(done)


async def another_task(ctx: Context) -> Directive:
    flight = await pay("flight")
    rest = await asyncio.gather(book("hotel"), pay("tour"))
    return ctx.next.complete([flight, *rest, await gate()])


async def another_input(ctx: Context) -> Directive:
    flight = await book("train")
    rest = await asyncio.gather(book("hotel"), pay("tour"))
    return ctx.next.complete([flight, *rest, await gate()])


async def one_before(ctx: Context) -> Directive:
    await pay("insurance")
    return await original(ctx)


async def one_gone(ctx: Context) -> Directive:
    rest = await asyncio.gather(book("hotel"), pay("tour"))
    return ctx.next.complete([*rest, await gate()])


async def swapped(ctx: Context) -> Directive:
    flight = await book("flight")
    rest = await asyncio.gather(pay("tour"), book("hotel"))
    return ctx.next.complete([flight, *rest, await gate()])


async def one_more_beside(ctx: Context) -> Directive:
    flight = await book("flight")
    rest = await asyncio.gather(book("hotel"), pay("tour"), pay("boat"))
    return ctx.next.complete([flight, *rest, await gate()])


async def in_a_branch(ctx: Context) -> Directive:
    async def trip() -> str:
        return await book("flight")

    flight = await asyncio.create_task(trip())
    rest = await asyncio.gather(book("hotel"), pay("tour"))
    return ctx.next.complete([flight, *rest, await gate()])


async def a_sleep_instead(ctx: Context) -> Directive:
    await ctx.sleep(timedelta(seconds=1))
    rest = await asyncio.gather(book("hotel"), pay("tour"))
    return ctx.next.complete([*rest, await gate()])


async def done_early(ctx: Context) -> Directive:
    return ctx.next.complete([await book("flight")])


async def raises_early(ctx: Context) -> Directive:
    await book("flight")
    raise ValueError("nothing else is needed")


async def catches_everything(ctx: Context) -> Directive:
    try:
        return await another_input(ctx)
    except Exception:  # noqa: BLE001 - as careless code does
        return ctx.next.complete([await pay("damages")])


MAKES_NO_DIFFERENCE = [original, patient, more_at_the_end]
IS_FOUND_OUT = [
    another_task, another_input, one_before, one_gone, swapped, one_more_beside, in_sequence,
    a_sleep_instead, done_early, raises_early, catches_everything,
]  # fmt: skip
RECORDED = ("flight", "hotel", "tour")
RESULT = ["flight booked", "hotel booked", "tour paid", "through"]


@pytest.mark.parametrize("changed", MAKES_NO_DIFFERENCE, ids=lambda step: step.__name__)
def test_code_that_asks_for_the_same_goes_on(
    database: Database, settings: Settings, changed: Step
) -> None:
    assert told(database, settings, changed) == RESULT
    assert [begun[what] for what in RECORDED] == [1, 1, 1]
    assert begun["gate"] == 2, "its outcome was not recorded when the worker died"


@pytest.mark.parametrize("changed", IS_FOUND_OUT, ids=lambda step: step.__name__)
def test_code_that_asks_for_something_else_fails_and_does_nothing(
    database: Database, settings: Settings, changed: Step
) -> None:
    error = told(database, settings, changed)

    assert isinstance(error, StepFailed)
    assert error.details is not None
    assert error.details.type == "NonDeterminismError"
    assert begun == dict.fromkeys((*RECORDED, "gate"), 1)


def test_a_call_that_moved_to_a_branch_of_its_own_is_found_out_too_late(
    database: Database, settings: Settings
) -> None:
    """It looks like one that was on its way beside the others when the worker died, and is begun.
    The run fails and says why, but the call has been made twice: see docs/reliability.md.
    """
    error = told(database, settings, in_a_branch)

    assert isinstance(error, StepFailed)
    assert "without asking for what history has: task 'book'" in str(error)
    assert begun["flight"] == 2


def told(database: Database, settings: Settings, changed: Step) -> Any:
    """The outcome of a run whose first worker had the original code, and the next one has this."""
    begun.clear()
    with Server(database.dsn) as server:
        return simulate(1, lambda loop: _two_lives(loop, server, settings, changed))


async def _two_lives(loop: SimulatedLoop, server: Server, settings: Settings, changed: Step) -> Any:
    global is_open  # noqa: PLW0603 - tasks are functions of a module, as users write them
    is_open = False
    server.begin(loop)
    network = Network(server)
    with mock.patch.object(worker_module, "LeaseKeeper", SimulatedLease):
        first = Process(network, settings, Random(1), CALM, _workflow(original))
        first.start()
        await first.worker.wait_until_ready()
        client = Client(connection_over(network.link(Random(2), CALM), settings))
        handle = await client.start_workflow("changed", "a")
        while not begun["gate"]:  # noqa: ASYNC110 - simulated time
            await asyncio.sleep(0.1)
        # Of simulated time: the start of a body that runs for a second is recorded.
        await asyncio.sleep(2)
        await first.kill()
        is_open = True
        second = Process(network, settings, Random(3), CALM, _workflow(changed))
        second.start()
        try:
            return await handle.result(timeout=600)
        except StepFailed as error:
            return error
        finally:
            await second.stop(0)
            await client.connection.close()


def _workflow(step: Step) -> Workflow:
    made = Workflow("changed")

    async def begin(ctx: Context) -> Directive:
        return await step(ctx)

    made.start()(begin)
    return made
