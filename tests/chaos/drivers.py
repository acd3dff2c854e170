"""``python -m tests.chaos.drivers NAME SEED``: a client process that drives the load.

Each call is noted in the ledger before it is made (``invoke``) and when it is answered: ``ok``,
``fail`` (it certainly did nothing), or ``unknown`` (the connection broke: it did something or not).
SIGTERM ends the load: nothing new is started, everything started is waited for.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from uuid import uuid4

from grctl.client import Client, Connection, WorkflowHandle
from grctl.errors import WorkflowError
from grctl.postgres.database import is_passing
from tests.chaos.notes import digest, notes
from tests.chaos.plans import plan_of
from tests.chaos.workload import LOAD, MAILBOX

READY = "driver ready"
MAILBOXES = 2
PATIENCE = 180.0
"""How long a run may take, in seconds, before its driver gives up on it."""


@dataclass
class _Said:
    """What came of a call."""

    phase: str = "ok"
    detail: str = ""
    handle: WorkflowHandle | None = None


class Driver:
    """The load of one process."""

    def __init__(self, chosen: argparse.Namespace, client: Client) -> None:
        self.name: str = chosen.name
        self.shape: str = chosen.shape
        self.client = client
        self.dice = Random(f"{chosen.seed}/{chosen.name}")
        self.stopping = asyncio.Event()
        self.left: int = chosen.runs
        self.mailboxes: list[WorkflowHandle] = []

    async def run(self, lanes: int) -> None:
        """Keep so many runs in flight until stopped, or until all are done."""
        for number in range(MAILBOXES):
            await self._open_mailbox(f"{self.name}-mailbox-{number}")
        await asyncio.gather(*(self._lane(f"{self.name}-{n}") for n in range(lanes)))
        for handle in self.mailboxes:
            await self._close(handle)
            await self._result(handle)

    async def _open_mailbox(self, wf_id: str) -> None:
        handle = None
        while handle is None:
            call = uuid4().hex
            async with self.noted(call, "start", wf_id) as said:
                said.handle = await self.client.start_workflow(MAILBOX, wf_id, {"origin": call})
            handle = said.handle
            if handle is None:  # refused, perhaps, for what an unknown answer left
                async with self.noted(uuid4().hex, "find", wf_id) as said:
                    said.handle = await self.client.get_workflow_handle(wf_id)
                handle = said.handle
        self.mailboxes.append(handle)

    async def _lane(self, lane: str) -> None:
        number = 0
        while self.left > 0 and not self.stopping.is_set():
            self.left -= 1
            number += 1
            await self._one(lane, number)

    async def _one(self, lane: str, number: int) -> None:
        """One run: start it, talk to it, wait for its end."""
        dice, wf_id = self.dice, f"{lane}.{number}"
        seed = dice.randrange(1 << 40)
        limit = timedelta(seconds=dice.uniform(0.02, 1)) if dice.random() < 0.1 else None
        handle = None
        for _ in range(2 if dice.random() < 0.05 else 1):  # twice: the second is refused, or not
            call = uuid4().hex
            async with self.noted(call, "start", wf_id) as said:
                value = {"seed": seed, "shape": self.shape, "depth": 0, "origin": call}
                said.handle = await self.client.start_workflow(LOAD, wf_id, value, timeout=limit)
            handle = said.handle or handle
        if handle is None:
            return
        if dice.random() < 0.2:
            await self._send(dice.choice(self.mailboxes), lane, number, "a letter")
        if dice.random() < 0.1:
            await self._stamp(dice.choice(self.mailboxes), lane, number)
        if dice.random() < 0.1:
            await self._count(dice.choice(self.mailboxes))
        if plan_of(seed, 0, self.shape).takes_pokes and dice.random() < 0.5:
            await self._send(handle, lane, number, "a poke")
        how = dice.random()
        if how < 0.06:
            await asyncio.sleep(dice.uniform(0, 0.3))
            end = handle.cancel if how < 0.04 else handle.terminate
            async with self.noted(uuid4().hex, end.__name__, wf_id, handle):
                await end("chaos")
        await self._result(handle)

    async def _send(self, handle: WorkflowHandle, lane: str, number: int, of: str) -> None:
        letter = {"by": lane, "n": number, "of": of}
        async with self.noted(digest(letter), "send", handle.workflow_id, handle, lane):
            await handle.send("poke", letter)

    async def _stamp(self, handle: WorkflowHandle, lane: str, number: int) -> None:
        """An update, which tells how many letters there are with it."""
        letter = {"by": lane, "n": number, "of": "a stamp"}
        call = digest(letter)
        async with self.noted(call, "update", handle.workflow_id, handle, lane) as said:
            said.detail = str(await handle.update("stamp", letter, timeout=PATIENCE))

    async def _count(self, handle: WorkflowHandle) -> None:
        """A query for the same number."""
        async with self.noted(uuid4().hex, "query", handle.workflow_id, handle) as said:
            said.detail = str(await handle.query("count", timeout=PATIENCE))

    async def _close(self, handle: WorkflowHandle) -> None:
        """Until it is answered: a mailbox that has ended is closed, too."""
        answered = False
        while not answered:
            async with self.noted(uuid4().hex, "close", handle.workflow_id, handle) as said:
                await handle.send("close")
            answered = said.phase != "unknown"
            if not answered:  # the server is away, and not to be asked in a busy loop
                await asyncio.sleep(0.1)

    async def _result(self, handle: WorkflowHandle) -> None:
        call = uuid4().hex
        await self._note(call, "invoke", "result", handle.workflow_id, handle, "")
        phase, seen = "ok", ""
        try:
            async with asyncio.timeout(PATIENCE) as limit:
                seen = digest(await handle.result())
        except TimeoutError as error:  # of the run, or of our patience
            phase = "fail" if limit.expired() else "ok"
            seen = f"{type(error).__name__}: {error}"
        except (WorkflowError, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and asyncio.current_task().cancelling():
                raise
            seen = f"{type(error).__name__}: {error}"
        await self._note(call, phase, "result", handle.workflow_id, handle, seen)

    @asynccontextmanager
    async def noted(
        self, call: str, what: str, wf_id: str, handle: WorkflowHandle | None = None, by: str = ""
    ) -> AsyncIterator[_Said]:
        """Around one call: what was asked for (and by which lane), and what came of it."""
        await self._note(call, "invoke", what, wf_id, handle, by)
        said = _Said(handle=handle)
        try:
            yield said
        except WorkflowError as error:
            said.phase, said.detail = "fail", f"{type(error).__name__}: {error}"
        except Exception as error:
            if not is_passing(error):
                raise
            said.phase, said.detail = "unknown", f"{type(error).__name__}: {error}"
        await self._note(call, said.phase, what, wf_id, said.handle, said.detail)

    async def _note(
        self, call: str, phase: str, what: str, wf_id: str, handle: WorkflowHandle | None, said: str
    ) -> None:
        run = None if handle is None else str(handle.run_id)
        row = (call, self.name, phase, what, wf_id, run, said, time.monotonic(), time.time())
        await notes().write("calls", *row)


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.drivers", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("seed", type=int)
    parser.add_argument("--shape", default="mixed")
    parser.add_argument("--lanes", type=int, default=20)
    parser.add_argument("--runs", type=int, default=1 << 60)
    chosen = parser.parse_args()
    async with await Connection.connect() as connection:
        driver = Driver(chosen, Client(connection))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, driver.stopping.set)
        print(READY, flush=True)
        await driver.run(chosen.lanes)
        await notes().close()


if __name__ == "__main__":
    asyncio.run(main())
