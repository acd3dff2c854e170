"""The driver's end of the protocol: commands by stdin, answers by stdout, one JSON a line.

    {"do": "throughput", "with": {"prefix": "x", "runs": 100, …}}   →   {"answer": {…}}
                                                                    or  {"error": "Traceback …"}

Standard library only: this runs in the environments of the peers, too.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Any, TextIO


def serve(driver: Any, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
    """Obey until stdin ends. A command is a coroutine method of `driver`."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints must not get between the answers
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_obey(driver, out))
    finally:
        if hasattr(driver, "shutdown"):
            driver.shutdown()
        sys.stderr.flush()
    # A thread of a peer, a connection that hangs: no measurement waits for it.
    os._exit(0)


async def _obey(driver: Any, out: TextIO) -> None:
    loop = asyncio.get_running_loop()
    # A thread of our own: a peer may replace the loop's default executor.
    reader = ThreadPoolExecutor(1, "stdin")
    while line := await loop.run_in_executor(reader, sys.stdin.readline):
        command = json.loads(line)
        try:
            answer = await getattr(driver, command["do"])(**command["with"])
            out.write(json.dumps({"answer": answer}) + "\n")
        except Exception:  # noqa: BLE001 - the suite says it
            out.write(json.dumps({"error": traceback.format_exc()}) + "\n")


async def in_lanes(
    count: int, lanes: int, run: Callable[[int], Awaitable[object]]
) -> dict[str, float]:
    """`run(0)` to `run(count - 1)`, so many at a time; the seconds it took."""
    numbers = iter(range(count))

    async def lane() -> None:
        for number in numbers:
            await run(number)

    spare_the_collector()
    began = perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(min(lanes, count)):
            group.create_task(lane())
    return {"seconds": perf_counter() - began}


async def one_by_one(count: int, run: Callable[[int], Awaitable[object]]) -> dict[str, list[float]]:
    """`run(0)` to `run(count - 1)`, one after the other; the seconds of each."""
    spare_the_collector()
    latencies = []
    for number in range(count):
        began = perf_counter()
        await run(number)
        latencies.append(perf_counter() - began)
    return {"latencies": latencies}


async def timed(work: Awaitable[object], expected: object) -> dict[str, float]:
    """The seconds of one piece of work, whose result must be the expected one."""
    spare_the_collector()
    began = perf_counter()
    expect(await work, expected)
    return {"seconds": perf_counter() - began}


def expect(found: object, wanted: object) -> None:
    """A wrong result is no measurement."""
    if found != wanted:
        raise AssertionError(f"expected the result {wanted!r:.80}, found {found!r:.80}")


def spare_the_collector() -> None:
    """The same for everyone: what is loaded stays, and is not walked again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def note_execution(path: str, run: str, task: int) -> None:
    """One line for each time that a task's body is entered: appended whole, by any process."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, f"{run} {task}\n".encode())
    finally:
        os.close(descriptor)
