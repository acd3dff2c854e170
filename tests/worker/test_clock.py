"""A pause is never shorter than it says, whatever the event loop."""

from __future__ import annotations

import asyncio
from time import monotonic

import pytest

from grctl.worker.clock import pause


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_pause_is_never_short(loop: str) -> None:
    async def excess(seconds: float) -> float:
        began = monotonic()
        await pause(seconds, asyncio.Event())
        return monotonic() - began - seconds

    async def many() -> list[float]:
        return [await excess(0.0103 + number * 0.00013) for number in range(100)]

    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        assert min(runner.run(many())) >= 0


async def test_a_pause_ends_with_its_event() -> None:
    event = asyncio.Event()
    event.set()
    await asyncio.wait_for(pause(3600, event), timeout=30)
