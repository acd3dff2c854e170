"""The long form: storms of many seeds, each with a mix of faults of its own.

The figures are printed as they come. With ``GRCTL_TEST_CHAOS_REPORTS`` set to a directory each
storm leaves its report there, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from tests.chaos.__main__ import show
from tests.chaos.storm import Report, StormPlan, storm
from tests.chaos.strikes import STRIKES

SECONDS = 45
STORMS = {
    1: ("kill", "cut"),
    2: ("restart", "terminate"),
    3: ("stop", "kill"),
    4: ("kill", "restart", "cut"),
    5: ("kill", "stop", "restart", "cut", "terminate"),
    6: ("cut", "terminate"),
}
DENSE = {7: ("kill", "cut", "restart"), 8: ("stop", "kill", "terminate")}
"""The same under a load of many short runs."""


async def conclude(plan: StormPlan, faults: tuple[str, ...]) -> Report:
    async with storm(plan) as it:
        await it.blow([STRIKES[name] for name in faults], SECONDS)
        return await it.conclude()


@pytest.mark.chaos
@pytest.mark.parametrize("seed", [*STORMS, *DENSE])
def test_a_storm_of_this_seed_breaks_nothing(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faults = STORMS.get(seed) or DENSE[seed]
    plan = StormPlan(seed) if seed in STORMS else StormPlan(seed, lanes=150, shape="light")

    report = asyncio.run(conclude(plan, faults))

    with capsys.disabled():
        print(f"\nseed {seed}, {', '.join(faults)}")
        show(report)
    directory = Path(os.environ.get("GRCTL_TEST_CHAOS_REPORTS", tmp_path))
    text = json.dumps(report.to_json(), indent=1)
    (directory / f"storm-{seed}.json").write_text(text, encoding="utf-8")
    assert report.violations == []
    assert all(report.figures["faults"].get(fault) for fault in faults)
