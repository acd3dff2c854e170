"""What of the tables hurts: dead rows, old transaction ids, what a crash would empty."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from grctl.models.findings import Finding, Severity

__all__ = ["findings"]

LEAST_DEAD: Final = 10_000
"""Fewer dead rows hurt nobody."""
MOST_DEAD: Final = 0.5
"""Of all rows. The hot tables are vacuumed long before."""
LAST_AGE: Final = 1_500_000_000
"""Transaction ids; at two billions the server stops."""
EMPTIED_ON_PURPOSE: Final = frozenset({"queries"})


def findings(tables: Sequence[Mapping[str, Any]], server: Mapping[str, Any]) -> Iterator[Finding]:
    """Of the rows of the statement ``tables``."""
    freeze = int(json.loads(server["settings"])["autovacuum_freeze_max_age"])
    for table in tables:
        yield from _bloat(table)
        yield from _age(table, freeze)
        if table["persistence"] == "u" and table["name"] not in EMPTIED_ON_PURPOSE:
            yield Finding(
                name="unlogged",
                severity=Severity.ERROR,
                text=f"the table {table['name']} is unlogged: a crash of the server empties it",
                advice=f"alter table {table['place']} set logged",
            )
        if table["is_unattended"]:
            yield Finding(
                name="autovacuum_disabled",
                severity=Severity.WARNING,
                text=f"autovacuum is turned off for the table {table['name']}",
                advice=f"alter table {table['place']} reset (autovacuum_enabled)",
            )


def _bloat(table: Mapping[str, Any]) -> Iterator[Finding]:
    dead, live = table["dead"], table["live"]
    if dead < LEAST_DEAD or dead < MOST_DEAD * (dead + live):
        return
    last = table["vacuumed_at"]
    yield Finding(
        name="bloat",
        severity=Severity.WARNING,
        text=(
            f"the table {table['name']} has {dead} dead rows beside {live} live ones, and was "
            + ("never vacuumed" if last is None else f"vacuumed last at {last:%Y-%m-%d %H:%M}")
        ),
        advice=(
            "look for an old snapshot (above) first: nothing can be removed while it is held. Then "
            f"vacuum {table['place']}"
        ),
        details={"table": table["name"], "dead": dead, "live": live, "bytes": table["bytes"]},
    )


def _age(table: Mapping[str, Any], freeze: int) -> Iterator[Finding]:
    age = table["age"]
    if age <= 1.5 * freeze and age <= LAST_AGE:
        return
    yield Finding(
        name="wraparound",
        severity=Severity.ERROR if age > LAST_AGE else Severity.WARNING,
        text=(
            f"the table {table['name']} was not frozen for {age} transactions "
            f"(autovacuum_freeze_max_age is {freeze}): transaction ids run out"
        ),
        advice=f"end old snapshots, then vacuum (freeze) {table['place']}; is autovacuum running?",
        details={"table": table["name"], "age": age},
    )
