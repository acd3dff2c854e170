"""One fault of the catalogue, upon the load, to the checker's report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.chaos.cluster import scratch
from tests.chaos.faults.catalogue import Fault
from tests.chaos.storm import Report, StormPlan, storm


async def struck(fault: Fault, seed: int, seconds: float | None = None, **plan: Any) -> Report:
    """What the checker says after ``fault`` has lasted for ``seconds`` (default: its own)."""
    with scratch() as directory:
        async with fault.surroundings(directory) as around:
            told = replace(StormPlan(seed), **{**fault.plan, **around.plan, **plan})
            async with storm(told) as it:
                await it.blow([*fault.strikes, *around.strikes], seconds or fault.seconds)
                try:
                    return await it.conclude()
                finally:
                    for worker in it.workers.alive:
                        said = worker.lines[-20:]
                        print(f"worker {worker.pid} ends with", *said, sep="\n  ")
