"""Simulated time and dice: what a seed decides, a second run decides in the same way."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import sys
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any, TypeVar
from unittest import mock

from grctl import ids
from tests.replay.clock import VirtualLoop

T = TypeVar("T")

BEGAN = datetime(2030, 1, 1, tzinfo=UTC)
"""What the database's clock says at the loop's time 0."""


class SimulatedLoop(VirtualLoop):
    """As the loop of the replay tests; a call in a thread is made at once, in the loop's own."""

    def run_in_executor(
        self, executor: object, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        made: asyncio.Future[T] = self.create_future()
        try:
            made.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - the caller's
            made.set_exception(error)
        return made

    @property
    def date(self) -> datetime:
        return BEGAN + timedelta(seconds=self.now)


def simulate(seed: int, main: Callable[[SimulatedLoop], Coroutine[Any, Any, T]]) -> T:
    """Run ``main`` with the clock and the dice of ``seed``."""
    loop = SimulatedLoop(0.0)
    with _clock_and_dice(loop, Random(f"{seed} ids")):
        try:
            return loop.run_until_complete(main(loop))
        finally:
            loop.close()


@contextlib.contextmanager
def _clock_and_dice(loop: SimulatedLoop, dice: Random) -> Iterator[None]:
    """What grctl takes from the outside world: the clock, and ids that are random."""

    def uuid4() -> uuid.UUID:
        return uuid.UUID(int=dice.getrandbits(128), version=4)

    real_uuid4 = uuid.uuid4
    stamp = itertools.count(int(BEGAN.timestamp() * 1e9), 1_000_000)
    state = random.getstate()
    with contextlib.ExitStack() as stack:
        for name, module in sorted(sys.modules.items()):
            if not name.startswith("grctl."):
                continue
            for attribute, value in list(vars(module).items()):
                if value is time.monotonic:
                    stack.enter_context(mock.patch.object(module, attribute, loop.time))
                elif value is real_uuid4:
                    stack.enter_context(mock.patch.object(module, attribute, uuid4))
        stack.enter_context(mock.patch.object(uuid, "uuid4", uuid4))
        stack.enter_context(mock.patch.object(ids, "_last", 0))
        stack.enter_context(
            mock.patch.object(ids, "time", SimpleNamespace(time_ns=lambda: next(stamp)))
        )
        stack.enter_context(mock.patch.object(ids, "os", SimpleNamespace(urandom=dice.randbytes)))
        random.seed(dice.random())
        try:
            yield
        finally:
            random.setstate(state)
