"""What of the server, and of the settings that it gives to our sessions, hurts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from grctl.counts import counted
from grctl.models.findings import Finding, Severity
from grctl.settings import Settings

__all__ = ["OLD_SNAPSHOT_SECONDS", "connections", "findings", "snapshots"]

OLDEST_SERVER: Final = 140_000
MOST_SKEW: Final = timedelta(seconds=30)
OLD_SNAPSHOT_SECONDS: Final = 300.0
SHORTEST_TIMEOUT_MS: Final = 60_000
"""Any of our statements is done by then."""
CONNECTIONS_BESIDE_THE_POOL: Final = 3
"""Of a worker, beside its pool and its writers: lease, worker's and client's notifications."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """A setting, the values that it must not have, and why."""

    setting: str
    bad: frozenset[str]
    severity: Severity
    why: str
    advice: str


_RULES: Final = (
    _Rule(
        "fsync",
        frozenset({"off"}),
        Severity.ERROR,
        "a crash of the machine may corrupt the database",
        "set fsync = on, and reload",
    ),
    _Rule(
        "full_page_writes",
        frozenset({"off"}),
        Severity.ERROR,
        "a crash of the machine may corrupt pages that were half written",
        "set full_page_writes = on, unless the file system writes pages atomically (ZFS)",
    ),
    _Rule(
        "synchronous_commit",
        frozenset({"off"}),
        Severity.ERROR,
        "a crash of the server may lose what it has answered: tasks are called again",
        "set synchronous_commit = on for the role or the database that grctl uses",
    ),
    _Rule(
        "default_transaction_isolation",
        frozenset({"serializable", "repeatable read"}),
        Severity.ERROR,
        "grctl relies on read committed: a statement has to see what was committed before its lock",
        "alter role … set default_transaction_isolation = 'read committed'",
    ),
    _Rule(
        "default_transaction_read_only",
        frozenset({"on"}),
        Severity.ERROR,
        "nothing can be written",
        "alter role … reset default_transaction_read_only; or connect to the primary",
    ),
    _Rule(
        "autovacuum",
        frozenset({"off"}),
        Severity.ERROR,
        "dead rows stay, claims and fences become slow, and transaction ids run out",
        "set autovacuum = on, and reload",
    ),
    _Rule(
        "track_counts",
        frozenset({"off"}),
        Severity.ERROR,
        "autovacuum does not know what to do without it",
        "set track_counts = on, and reload",
    ),
)

_TIMEOUTS: Final = {
    "statement_timeout": "a batch or a claim that takes long is cut off, and sent again",
    "lock_timeout": "a batch that waits for a take-over or an operator is cut off, and sent again",
    "transaction_timeout": "a batch or a claim that takes long is cut off, and sent again",
    "idle_session_timeout": "idle connections of pools and listeners are closed, and made anew",
}


def findings(server: Mapping[str, Any], now: datetime) -> Iterator[Finding]:
    """Of one row of the statement ``server``; ``now`` is this process's clock at that moment."""
    settings = json.loads(server["settings"])
    if server["version_num"] < OLDEST_SERVER:
        yield Finding(
            name="server_version",
            severity=Severity.ERROR,
            text=f"PostgreSQL {server['version']} is too old for grctl",
            advice="upgrade to PostgreSQL 14 or later",
        )
    if server["is_standby"]:
        yield Finding(
            name="standby",
            severity=Severity.ERROR,
            text="this server is a standby: nothing can be written",
            advice="let GRCTL_DATABASE_URL lead to the primary (target_session_attrs=read-write)",
        )
    yield from _clock(server, now)
    for rule in _RULES:
        value = settings.get(rule.setting)
        if value in rule.bad:
            yield Finding(
                name=rule.setting,
                severity=rule.severity,
                text=f"{rule.setting} is {value}: {rule.why}",
                advice=rule.advice,
            )
    for name, why in _TIMEOUTS.items():
        value = int(settings.get(name) or 0)
        if 0 < value < SHORTEST_TIMEOUT_MS:
            yield Finding(
                name=name,
                severity=Severity.WARNING,
                text=f"{name} is {value} ms: {why}",
                advice=f"alter role … set {name} = 0 for the role that grctl uses",
            )


def _clock(server: Mapping[str, Any], now: datetime) -> Iterator[Finding]:
    skew = server["now"] - now
    if abs(skew) > MOST_SKEW:
        ahead = "ahead of" if skew > timedelta(0) else "behind"
        yield Finding(
            name="clock_skew",
            severity=Severity.WARNING,
            text=f"the database's clock is {abs(skew).total_seconds():.0f} s {ahead} this host's",
            advice=(
                "set both by NTP. Timers go by the database's clock and are right; runs are listed "
                "and pruned in the order of ids that clients make by their own"
            ),
            details={"seconds": round(skew.total_seconds(), 3)},
        )
    if server["clock_shift"] is not None:
        yield Finding(
            name="clock_shift",
            severity=Severity.ERROR,
            text=f"grctl_clock.shift is {server['clock_shift']!r}: all timers are wrong by that",
            advice="alter database … reset grctl_clock.shift (and alter role): it is for tests",
        )


def connections(server: Mapping[str, Any], settings: Settings, workers: int) -> Iterator[Finding]:
    """Whether the server has connections for all, if all workers have the settings of this host."""
    found = json.loads(server["settings"])
    reserved = int(found["superuser_reserved_connections"])
    most = int(found["max_connections"]) - reserved - int(found.get("reserved_connections") or 0)
    worker = settings.pool_size + settings.writers + CONNECTIONS_BESIDE_THE_POOL
    details = {"max": most, "now": server["connections"], "workers": workers, "of_a_worker": worker}
    if server["connections"] > 0.9 * most:
        yield Finding(
            name="connections",
            severity=Severity.WARNING,
            text=f"{server['connections']} of {most} connections are in use",
            advice="raise max_connections, lower GRCTL_POOL_SIZE, or put a PgBouncer in between",
            details=details,
        )
    elif worker * (workers + 1) > most:
        yield Finding(
            name="connections",
            severity=Severity.WARNING,
            text=(
                f"{counted(workers, 'worker')} of up to {worker} connections and one more do not "
                f"fit into {most} connections"
            ),
            advice="raise max_connections, lower GRCTL_POOL_SIZE, or put a PgBouncer in between",
            details=details,
        )


def snapshots(rows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    """What holds vacuum back."""
    for row in rows:
        pid = "" if row["pid"] is None else f" (pid {row['pid']}, user {row['usename']})"
        age = "" if row["seconds"] is None else f" is open for {row['seconds']:.0f} s and"
        yield Finding(
            name="old_snapshot",
            severity=Severity.WARNING,
            text=f"{row['what']}{pid}{age} keeps dead rows from being removed",
            advice=(
                "end it: select pg_terminate_backend(pid), rollback prepared, or "
                "pg_drop_replication_slot; set idle_in_transaction_session_timeout for its role"
            ),
            details={name: row[name] for name in ("pid", "usename", "seconds", "state", "query")},
        )
