"""The rounds: every case in every round, every subject in every case, in turn."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.arena import SUBJECTS, Arena
from benchmarks.cases import Case
from benchmarks.outcome.figures import Results
from benchmarks.peers import SERVER_PACKAGE
from benchmarks.server import SETTINGS, Server, running

WARM_UP = 0.1
"""The first round is small, and thrown away."""

Watch = Callable[[str, int, int], None]
"""Told what comes next, how many measurements are done, and how many there are."""


async def run_suite(
    cases: Sequence[Case],
    subjects: Sequence[str],
    *,
    rounds: int,
    scale: float,
    watch: Watch,
    results: Results,
) -> None:
    """Measure everything into `results`. What fails is noted there, and the others go on."""
    with running() as server:
        async with Arena(server) as arena:
            watch("installing peers, making databases", 0, 1)
            await arena.prepare([name for name in SUBJECTS if name in subjects])
            results.missing = arena.missing
            results.made = _made(server, rounds, scale)
            await _prepare(cases, arena, scale, results, watch)
            plan = [
                (round_no, case, subject)
                for round_no in range(rounds + 1)
                for case, subject in _round(cases, subjects, arena.missing, round_no, rounds)
            ]
            begun = -1
            for done, (round_no, case, subject) in enumerate(plan):
                watch(f"round {round_no}: {case.key} {subject}", done, len(plan))
                if round_no != begun:
                    begun = round_no
                    await _begin_round(arena, subjects)
                await _measure(case, subject, arena, round_no, scale, results)
            watch("done", len(plan), len(plan))


def _round(
    cases: Sequence[Case],
    subjects: Sequence[str],
    missing: dict[str, str],
    round_no: int,
    rounds: int,
) -> Iterator[tuple[Case, str]]:
    """A round's measurements. Who comes first in a case changes from round to round."""
    for case in cases:
        names = [
            name
            for name in case.sizes
            if (name in subjects or name not in SUBJECTS)
            and name not in missing
            and round_no <= case.rounds(name, rounds)
        ]
        turn = round_no % len(names) if names else 0
        for name in names[turn:] + names[:turn]:
            yield case, name


async def _prepare(
    cases: Sequence[Case], arena: Arena, scale: float, results: Results, watch: Watch
) -> None:
    for case in cases:
        watch(f"preparing {case.key}", 0, 1)
        try:
            await case.prepare(arena, scale)
        except Exception as error:  # noqa: BLE001 - the other cases go on
            results.failures.append(f"{case.key}, preparing: {_said(error)}")


async def _begin_round(arena: Arena, subjects: Sequence[str]) -> None:
    """Everyone's tables are empty, and no checkpoint is due soon."""
    for name in subjects:
        if name not in arena.missing and name != "restate":
            await arena.fresh(name)
    await arena.server.execute("checkpoint")


async def _measure(
    case: Case, subject: str, arena: Arena, round_no: int, scale: float, results: Results
) -> None:
    try:
        figures = await case.measure(arena, subject, scale if round_no else scale * WARM_UP)
    except Exception as error:  # noqa: BLE001 - the other cases go on
        results.failures.append(f"{case.key}, {subject}, round {round_no}: {_said(error)}")
        await arena.renew(subject)
    else:
        if round_no:
            results.add(case.key, subject, round_no, figures)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:2000]


def _made(server: Server, rounds: int, scale: float) -> dict[str, str]:
    """When, on what, and with what."""
    peers = Path(__file__).parent / "peers"
    pins = [line for name in ("dbos", "absurd", "restate")
            for line in (peers / f"{name}.txt").read_text().split()]  # fmt: skip
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "postgresql": server.version,
        "grctl": version("grctl"),
        "asyncpg": version("asyncpg"),
        "uvloop": version("uvloop"),
        "peers": ", ".join([*dict.fromkeys(pins), SERVER_PACKAGE]),
        "rounds": str(rounds),
        "scale": str(scale),
        "settings": ", ".join(f"{name} = {value}" for name, value in SETTINGS.items()),
    }
