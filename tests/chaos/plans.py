"""What the runs of the load do: plans, made from a seed, that are the same wherever they are made.

A plan is data. The workload executes it, the drivers know from it what a run needs, and whoever
replays a history finds the same plan again.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

DEEPEST = 2
"""Children of children have no children."""

HOPS = 2
"""How often a run that continues as new does so."""


@dataclass(frozen=True)
class Op:
    """One thing that a step does; ``detail`` depends on the kind."""

    kind: str
    detail: int = 0


@dataclass(frozen=True)
class Stage:
    """A step: its operations, and what it returns. ``detail`` is in milliseconds.

    ``is_sturdy``: a step with a retry policy, whose first attempt raises after its operations.
    """

    ops: tuple[Op, ...]
    ending: str
    detail: int = 0
    is_sturdy: bool = False


@dataclass(frozen=True)
class Shape:
    """How often what is in the plans of a load, and how long it takes."""

    stages: tuple[int, ...]
    ops: tuple[int, ...]
    kinds: dict[str, int]
    endings: dict[str, int]
    last: dict[str, int]
    longest_ms: int


SHAPES = {
    # Everything there is, about equally.
    "mixed": Shape(
        stages=(1, 2, 2, 3, 4),
        ops=(0, 1, 2, 2, 3),
        kinds={
            "once": 6, "flaky": 3, "refused": 2, "exhausted": 1, "gather": 4, "race": 3,
            "timeout": 2, "sleep": 3, "value": 3, "put": 5, "child": 2, "start": 2, "tell": 3,
            "press": 3,
        },
        endings={"step": 5, "delay": 2, "wait": 3, "await": 2},
        last={"complete": 12, "fail": 1, "raise": 1, "continue": 2},
        longest_ms=600,
    ),
    # Mostly short runs, for a load of very many.
    "light": Shape(
        stages=(1, 1, 1, 1, 2, 2, 3),
        ops=(1, 1, 1, 2, 2),
        kinds={
            "once": 30, "flaky": 2, "refused": 1, "gather": 4, "race": 1, "timeout": 1,
            "sleep": 2, "value": 4, "put": 6, "child": 1, "start": 1, "tell": 2, "press": 2,
        },
        endings={"step": 5, "delay": 1, "wait": 1, "await": 1},
        last={"complete": 60, "fail": 1, "raise": 1, "continue": 1},
        longest_ms=150,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """The stages of a run, in order."""

    stages: tuple[Stage, ...]

    @property
    def takes_pokes(self) -> bool:
        """Whether it waits for events at all."""
        return any(stage.ending in ("wait", "await") for stage in self.stages)


def plan_of(seed: int, depth: int, shape: str) -> Plan:
    """The plan of a run. ``depth`` counts its ancestors."""
    wanted, dice = SHAPES[shape], Random(f"{seed}/{depth}")
    count = dice.choice(wanted.stages)
    stages = [_stage(dice, wanted, depth, is_last=n == count - 1) for n in range(count)]
    return Plan(tuple(stages))


def _stage(dice: Random, shape: Shape, depth: int, *, is_last: bool) -> Stage:
    kinds = dict(shape.kinds)
    if depth >= DEEPEST:
        del kinds["child"], kinds["start"]
    ops = [_op(dice, shape, _pick(dice, kinds)) for _ in range(dice.choice(shape.ops))]
    endings = dict(shape.last if is_last else shape.endings)
    if depth:
        endings.pop("continue", None)
    ending = _pick(dice, endings)
    if ending == "await":
        # Without a timer it would wait for ever: it sends itself what it waits for.
        ops.append(Op("tell", 1))
    detail = dice.randint(5, shape.longest_ms) if ending in ("delay", "wait") else 0
    return Stage(tuple(ops), ending, detail, is_sturdy=dice.random() < 0.1)


def _op(dice: Random, shape: Shape, kind: str) -> Op:
    match kind:
        case "sleep":
            return Op(kind, dice.choice((0, 3, 40, shape.longest_ms)))
        case "gather" | "race" | "press":
            return Op(kind, dice.randint(2, 4))
        case "child" | "start":
            return Op(kind, dice.randrange(1 << 30))
        case "timeout":
            return Op(kind, dice.choice((1, 10, 200)))
        case "flaky":
            return Op(kind, dice.randint(1, 2))
        case _:
            return Op(kind, dice.randrange(3))


def _pick(dice: Random, weights: dict[str, int]) -> str:
    return dice.choices(list(weights), list(weights.values()))[0]
