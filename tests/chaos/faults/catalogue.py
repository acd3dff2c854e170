"""Every fault that falls upon the load: how it is made, and in which surroundings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos import strikes as everyday
from tests.chaos.cluster import WORKLOAD
from tests.chaos.faults import database, workers
from tests.chaos.faults.migration import with_a_next_version
from tests.chaos.faults.needs import FAKETIME
from tests.chaos.faults.patroni import TOOLS, under_patroni
from tests.chaos.faults.surroundings import (
    Surroundings,
    behind_pgbouncer,
    lose_packets,
    on_a_small_disk,
    with_a_clock_off,
)
from tests.chaos.storm import Strike


@asynccontextmanager
async def nothing_special(_directory: Path) -> AsyncIterator[Surroundings]:
    """A server of the storm's own."""
    yield Surroundings({})


@dataclass(frozen=True)
class Fault:
    """``how`` is the row's text in the report; ``seconds``, how long it lasts; ``needs`` and
    ``root``, what the machine must have."""

    name: str
    how: str
    strikes: Sequence[Strike] = ()
    seconds: float = 40.0
    plan: dict[str, Any] = field(default_factory=dict)
    surroundings: Callable[[Path], AbstractAsyncContextManager[Surroundings]] = nothing_special
    needs: tuple[str | Path, ...] = ()
    root: bool = False
    in_namespace: bool = False


_OWN = {"modules": (WORKLOAD, workers.MODULE)}

FAULTS = {
    fault.name: fault
    for fault in (
        Fault(
            "kill",
            "SIGKILL of a random worker every 1 to 5 s; another takes its place",
            [everyday.kill],
        ),
        Fault(
            "stop",
            "SIGSTOP of a random worker for twice its lease, then SIGCONT",
            [everyday.stop],
        ),
        Fault(
            "block",
            "steps that hold the event loop for two leases; beside them tasks of three leases",
            [workers.block, workers.outlast],
            plan=_OWN,
        ),
        Fault(
            "poison",
            "runs that `os._exit`, are killed as by the kernel, or eat all memory",
            [workers.poison],
            seconds=60,
            plan={**_OWN, "env": {"GRCTL_MAX_STEP_CRASHES": "4"}},
        ),
        Fault(
            "roll",
            "rolling restarts, one every 2 to 4 s: SIGTERM once, or twice",
            [workers.roll],
            seconds=60,
        ),
        Fault(
            "down",
            "PostgreSQL stopped with `-m immediate`, and away for 1, 20, 5 and 60 s",
            [database.down],
            seconds=140,
            plan={"calm_bound": 240.0},
        ),
        Fault(
            "connections",
            "all connections ended by `pg_terminate_backend`, the listeners' too, every 1 to 3 s",
            [everyday.terminate],
        ),
        Fault(
            "answers",
            "connections cut, answers swallowed after the commit, black holes, half-open ones",
            [everyday.cut, everyday.hole],
        ),
        Fault(
            "packets",
            "packets of every connection dropped by iptables for 10 to 20 s, in a network "
            "namespace: half-open on both sides",
            [lose_packets],
            seconds=60,
            needs=("ip", "iptables"),
            root=True,
            in_namespace=True,
        ),
        Fault(
            "pgbouncer",
            "PgBouncer in transaction mode, 6 connections for all; workers killed",
            [everyday.kill, everyday.terminate],
            surroundings=behind_pgbouncer,
            needs=("pgbouncer",),
        ),
        Fault(
            "clock ahead",
            "the server's clock 2 h ahead (libfaketime); workers killed",
            [everyday.kill],
            surroundings=with_a_clock_off("+2h"),
            needs=(FAKETIME,),
        ),
        Fault(
            "clock behind",
            "the server's clock 2 h behind (libfaketime); workers killed",
            [everyday.kill],
            surroundings=with_a_clock_off("-2h"),
            needs=(FAKETIME,),
        ),
        Fault(
            "clock steps",
            "the server's clock set 2 h ahead at a restart, back at the next one, and ahead again",
            [everyday.kill],
            seconds=45,
            surroundings=with_a_clock_off("+0", "+2h", "+0", "+2h"),
            needs=(FAKETIME,),
        ),
        Fault("latency 50", "every answer of the server 50 ms late", [database.slow_50]),
        Fault(
            "latency 500",
            "every answer of the server 500 ms late",
            [database.slow_500],
            plan={"lease": 5.0},
        ),
        Fault(
            "errors",
            "a pool of one connection; one statement in twenty fails as by a serialization "
            "failure, a deadlock, a time-out, a lock that is not free",
            [database.fail_statements],
            plan={"env": {"GRCTL_POOL_SIZE": "1"}},
        ),
        Fault(
            "locks",
            "a rival that locks open runs in random order: deadlocks, statements that time out",
            [database.lock],
        ),
        Fault(
            "snapshot",
            "a transaction held open for two minutes",
            [database.hold_snapshot],
            seconds=120,
        ),
        Fault(
            "disk",
            "the data directory's disk (250 MB) filled to the last byte, and freed again",
            surroundings=on_a_small_disk,
            seconds=60,
            needs=("mount",),
            root=True,
        ),
        Fault(
            "patroni",
            "the primary of a synchronous Patroni cluster (two nodes, etcd, HAProxy) loses its "
            "power; the standby takes its place, the old primary comes back",
            surroundings=under_patroni,
            seconds=90,
            plan={"calm_bound": 240.0},
            needs=TOOLS,
            root=True,
        ),
        Fault(
            "migration",
            "the next version's migration under load; old and new workers side by side",
            surroundings=with_a_next_version,
            seconds=35,
        ),
    )
}
