"""What of the workers and of their runs hurts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from grctl.counts import counted
from grctl.models.findings import Finding, Severity

__all__ = [
    "LONG_CANCEL_SECONDS",
    "LONG_STEP_SECONDS",
    "MOST_COUNTED",
    "MOST_NAMED",
    "crashing",
    "held",
    "poisoned",
    "types",
    "unhandled",
    "workers",
]

MOST_COUNTED: Final = 10_000
MOST_NAMED: Final = 5
LONG_STEP_SECONDS: Final = 3600.0
LONG_CANCEL_SECONDS: Final = 600.0
LONG_DUE_SECONDS: Final = 60.0
SILENT_SECONDS: Final = 60.0
MANY_LOST: Final = 3
MANY_MESSAGES: Final = 1_000

_Rows = Sequence[Mapping[str, Any]]


def workers(rows: _Rows) -> Iterator[Finding]:
    """Dead ones that nobody takes over, those that are blocked, and many that were lost."""
    live = [row for row in rows if row["is_live"]]
    for row in rows:
        if row["is_open"] and not row["is_live"] and (not live or row["silent"] > SILENT_SECONDS):
            yield Finding(
                name="dead_worker",
                severity=Severity.ERROR if row["runs"] else Severity.WARNING,
                text=(
                    f"the lease of worker {row['worker_id']} is over for {row['silent']:.0f} s, "
                    f"and nobody takes over its {counted(row['runs'], 'run')}"
                ),
                advice=(
                    "look in the logs of the workers that are up for 'lease not renewed'"
                    if live
                    else "start a worker, of whatever type: it takes over within its lease"
                ),
                details={"worker": row["worker_id"], "runs": row["runs"]},
            )
    yield from (_stalled(row) for row in live if row["stalled_for"] is not None)
    lost = [row["worker_id"] for row in rows if row["is_lost"]]
    if len(lost) >= MANY_LOST:
        yield Finding(
            name="lost_workers",
            severity=Severity.WARNING,
            text=f"{len(lost)} workers were lost within the last hour: {_named(lost)}",
            advice=(
                "look in their logs and their hosts' for what ended them: memory, a signal, "
                "'loop stalled too long'. Or is the lease too short for pauses of the host?"
            ),
            details={"workers": lost},
        )


def _stalled(row: Mapping[str, Any]) -> Finding:
    return Finding(
        name="stalled_worker",
        severity=Severity.WARNING,
        text=(
            f"code blocks the event loop of worker {row['worker_id']} for {row['stalled_for']:.0f} "
            f"s, and {_none_of(row['runs'])}: {row['stalled_in'][-1]}"
        ),
        advice="make it a plain def task, which gets a thread; `details` has the whole stack",
        details={"worker": row["worker_id"], "stack": row["stalled_in"]},
    )


def types(rows: _Rows) -> Iterator[Finding]:
    """Types whose due runs nobody claims, or not soon."""
    for row in rows:
        due = _many(row["due"], "run of the type", "runs of the type")
        is_due = "is due" if row["due"] == 1 else "are due"
        details = {name: row[name] for name in ("wf_type", "due", "seconds", "workers", "slots")}
        if not row["workers"]:
            yield Finding(
                name="unserved_type",
                severity=Severity.ERROR,
                text=f"{due} {row['wf_type']!r} {is_due}, and no worker serves it",
                advice="start one that has this workflow: `grctl worker MODULE`",
                details=details,
            )
        elif row["seconds"] > LONG_DUE_SECONDS:
            full = row["held"] >= row["slots"]
            yield Finding(
                name="backlog",
                severity=Severity.WARNING,
                text=(
                    f"{due} {row['wf_type']!r} {is_due}, the oldest for "
                    f"{row['seconds']:.0f} s; its workers hold {row['held']} of {row['slots']}"
                ),
                advice=(
                    "start more workers, or raise GRCTL_CONCURRENCY"
                    if full
                    else "there are free slots: a transaction holds the runs' rows (old snapshots, "
                    "above), or the workers hang: look in their logs"
                ),
                details=details,
            )


def held(rows: _Rows) -> Iterator[Finding]:
    """Runs in the hands of a worker that do not come to their end."""
    orphaned = [row for row in rows if row["is_orphaned"]]
    if orphaned:
        yield _about(
            orphaned,
            "orphaned_runs",
            Severity.ERROR,
            "run belongs to a worker that has ended, and nobody claims it",
            "runs belong to a worker that has ended, and nobody claims them",
            "this is a defect of grctl: report it, and terminate and start them anew",
        )
    cancelled = [row for row in rows if (row["cancel_for"] or 0) > LONG_CANCEL_SECONDS]
    if cancelled:
        yield _about(
            cancelled,
            "unseen_cancels",
            Severity.WARNING,
            f"run was to be cancelled more than {LONG_CANCEL_SECONDS / 60:.0f} min ago, and its "
            "step goes on",
            f"runs were to be cancelled more than {LONG_CANCEL_SECONDS / 60:.0f} min ago, and "
            "their steps go on",
            "`grctl why ID` says what they do; `grctl terminate ID` does not wait for them",
        )
    long = [row for row in rows if not row["is_orphaned"] and row["held_for"] > LONG_STEP_SECONDS]
    if long:
        yield _about(
            long,
            "long_runs",
            Severity.WARNING,
            f"run has been held by its worker for more than {LONG_STEP_SECONDS / 3600:.0f} h",
            f"runs have been held by their worker for more than {LONG_STEP_SECONDS / 3600:.0f} h",
            "`grctl why ID` says what they do. A sleep in a step is kept by its worker: a delayed "
            "step or a wait with a timeout is not",
        )


def crashing(rows: _Rows) -> Iterator[Finding]:
    """Runs that may be what kills workers."""
    if rows:
        yield _about(
            rows,
            "crash_loop",
            Severity.ERROR,
            f"run was in its step when workers were lost, {rows[0]['crashes']} times",
            f"runs were in their step when workers were lost, up to {rows[0]['crashes']} times",
            "look in the logs of the lost workers for what killed them; `grctl terminate ID` ends "
            "a run that does it",
        )


def poisoned(rows: _Rows) -> Iterator[Finding]:
    """Runs that were given up for it."""
    if rows:
        yield _about(
            rows,
            "poisoned_runs",
            Severity.WARNING,
            "run failed within the last week because its step killed too many workers",
            "runs failed within the last week because their step killed too many workers",
            "repair what killed them (`grctl history ID` has the step), then `grctl retry ID`; or "
            "prune them",
        )


def unhandled(rows: _Rows) -> Iterator[Finding]:
    """Messages that came too late."""
    row = rows[0]
    if row["messages"] >= MANY_MESSAGES:
        yield Finding(
            name="unhandled_messages",
            severity=Severity.WARNING,
            text=(
                f"{row['messages']} messages are in the inboxes of "
                + counted(row["runs"], "ended run")
            ),
            advice=(
                "their runs ended before they handled them: is that meant? They go with their "
                "runs (`grctl prune`)"
            ),
            details=dict(row),
        )


def _about(
    rows: _Rows, name: str, severity: Severity, one: str, several: str, advice: str
) -> Finding:
    ids = [row["wf_id"] for row in rows]
    return Finding(
        name=name,
        severity=severity,
        text=f"{_many(len(rows), one, several)}: {_named(ids)}",
        advice=advice,
        details={"ids": ids[:100]},
    )


def _many(number: int, one: str, several: str) -> str:
    """A number that was counted up to a bound, and what there is of it."""
    if number >= MOST_COUNTED:
        return f"{number} or more {several}"
    return counted(number, one, several)


def _none_of(runs: int) -> str:
    return "its one run does not move" if runs == 1 else f"none of its {runs} runs moves"


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMED]) + (", …" if len(names) > MOST_NAMED else "")
