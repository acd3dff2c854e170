"""What the demo does, from the first order to the last check."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from examples.demo.audit import Audit, Killed, audit, is_as_expected
from examples.demo.processes import LEASE_SECONDS, DemoFailedError, WorkerProcess
from examples.demo.screen import Screen
from examples.order import ledger
from examples.order.model import Order, Shipment
from grctl.cli.timeline import render
from grctl.client import Client, Connection, WorkflowHandle, WorkflowStart
from grctl.errors import WorkflowError
from grctl.models import HistoryEvent
from grctl.postgres import migrations

ORDERS = 50
ITEMS = ("lamp", "chair", "table")
KILL_AFTER_TASKS = 150
PATIENCE_SECONDS = 45
RECOVERY_SECONDS = LEASE_SECONDS + 10
"""The lease, and what a busy machine needs to start a Python; more would be worth a look."""


@dataclass(slots=True)
class Demo:
    """One run of the demo; ``place`` is a directory of its own."""

    place: Path
    screen: Screen
    orders: list[Order] = field(default_factory=list)
    ended: dict[str, str] = field(default_factory=dict)

    async def run(self, dsn: str) -> bool:
        """Whether every check holds."""
        await migrations.upgrade(dsn)
        async with await Connection.connect(dsn) as connection:
            client = Client(connection)
            with self._worker(dsn) as worker:
                await self._until(worker.is_ready, "the worker is ready", worker)
                waiting = await self._place_orders(client, worker)
                killed = await self._kill_in_the_middle(worker)
            with self._worker(dsn) as worker:
                await self._let_another_go_on(worker)
            await waiting
            histories = [await client.get_history(each.id) for each in self.orders]
        return self._report(histories, killed)

    @property
    def _ledger(self) -> Path:
        return self.place / "ledger.jsonl"

    def _worker(self, dsn: str) -> WorkerProcess:
        return WorkerProcess(dsn, self.place, self._ledger)

    async def _place_orders(self, client: Client, worker: WorkerProcess) -> asyncio.Future[None]:
        self.orders = [_order(number) for number in range(1, ORDERS + 1)]
        answers = await client.start_workflows(
            [WorkflowStart("order", each.id, {"order": each}) for each in self.orders]
        )
        handles = [each for each in answers if isinstance(each, WorkflowHandle)]
        if len(handles) < ORDERS:
            raise DemoFailedError(f"not all orders could be placed: {answers}")
        self.screen.step(f"worker {worker.pid} has {ORDERS} orders")
        return asyncio.ensure_future(self._wait_for_all(handles))

    async def _wait_for_all(self, handles: Sequence[WorkflowHandle]) -> None:
        async with asyncio.TaskGroup() as group:
            for handle in handles:
                group.create_task(self._wait_for(handle))

    async def _wait_for(self, handle: WorkflowHandle) -> None:
        try:
            await handle.result(return_type=Shipment)
        except WorkflowError as error:
            declined = error.details is not None and error.details.type == "PaymentDeclined"
            self.ended[handle.workflow_id] = "declined" if declined else str(error)
        else:
            self.ended[handle.workflow_id] = "shipped"

    async def _kill_in_the_middle(self, worker: WorkerProcess) -> Killed:
        await self._until(
            lambda: self._tasks_done() >= KILL_AFTER_TASKS, "enough tasks have run", worker
        )
        killed = Killed(worker.pid, worker.worker_id(), time.time())
        worker.kill()
        self.screen.step(
            f"kill -9 {killed.pid}: {self._tasks_done()} tasks have run, "
            f"{ORDERS - len(self.ended)} orders are open"
        )
        return killed

    async def _let_another_go_on(self, worker: WorkerProcess) -> None:
        await self._until(worker.is_ready, "the second worker is ready", worker)
        self.screen.step(f"worker {worker.pid} goes on")
        await self._until(lambda: len(self.ended) == ORDERS, "all orders have ended", worker)
        self.screen.step(f"all {ORDERS} orders have ended")
        worker.terminate()
        await self._until(lambda: worker.code is not None, "the worker stops when asked to", worker)
        if worker.code != 0:
            raise DemoFailedError(f"the worker ended with {worker.code}:\n{worker.last_words()}")

    async def _until(
        self, condition: Callable[[], bool], words: str, worker: WorkerProcess
    ) -> None:
        """Wait, and show how far it is; DemoFailedError if it takes too long."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline or worker.code is not None:
                raise DemoFailedError(f"it does not come that {words}:\n{worker.last_words()}")
            self.screen.progress(
                f"{len(self.ended)} of {ORDERS} orders, {self._tasks_done()} tasks"
            )
            await asyncio.sleep(0.05)

    def _tasks_done(self) -> int:
        return sum(entry.mark != "start" for entry in ledger.read(self._ledger))

    def _report(self, histories: Sequence[Sequence[HistoryEvent]], killed: Killed) -> bool:
        result = audit(histories, ledger.read(self._ledger), killed)
        shown = _most_telling(histories, killed)
        cut = killed.at - shown[0].timestamp.timestamp()
        self.screen.title(f"An order that was cut off, at +{cut:.3f} s, as its history has it")
        self.screen.text(render(shown, color=self.screen.color))
        self.screen.title("Checks: history against the ledger that the tasks keep by themselves")
        checks = self._checks(histories, result)
        for text, holds in checks:
            self.screen.check(text, holds=holds)
        for text in result.wrong:
            self.screen.text(f"    {text}")
        return all(holds for _, holds in checks)

    def _checks(
        self, histories: Sequence[Sequence[HistoryEvent]], result: Audit
    ) -> list[tuple[str, bool]]:
        counts = Counter(self.ended.values())
        bad = sum(order.card == "expired" for order in self.orders)
        odd = [
            order.id
            for order, events in zip(self.orders, histories, strict=True)
            if not is_as_expected(order, events)
        ]
        outcomes = (
            f"{counts['shipped']} orders shipped, each charged once; "
            f"{counts['declined']} declined and undone"
        )
        recorded = (
            f"{result.recorded_at_kill} tasks were recorded when the worker was killed; "
            f"run again: {result.run_again}"
        )
        cut_off = (
            f"{len(result.cut_off)} tasks were begun and not recorded at that moment: "
            "they, and no others, were begun once more"
        )
        recovery = (
            f"{result.recovery_seconds:.1f} s from the kill until all of these ran again "
            f"(the lease is {LEASE_SECONDS} s)"
        )
        return [
            (outcomes, counts == {"shipped": ORDERS - bad, "declined": bad} and not odd),
            (recorded, result.recorded_at_kill > 0 and result.run_again == 0),
            (cut_off, bool(result.cut_off) and not result.wrong),
            (recovery, result.recovery_seconds < RECOVERY_SECONDS),
        ]


def _order(number: int) -> Order:
    """Every tenth has a card that the bank refuses."""
    return Order(
        id=f"order-{number:02}",
        items=list(ITEMS[: 1 + number % len(ITEMS)]),
        card="expired" if number % 10 == 0 else "valid",
        amount_cents=1000 + 100 * number,
    )


def _most_telling(
    histories: Sequence[Sequence[HistoryEvent]], killed: Killed
) -> Sequence[HistoryEvent]:
    """Of the runs that were open at the kill, the one with the most before and after it."""

    def events_on_both_sides(events: Sequence[HistoryEvent]) -> int:
        before = sum(event.timestamp.timestamp() < killed.at for event in events)
        return min(before, len(events) - before)

    return max(histories, key=events_on_both_sides)
