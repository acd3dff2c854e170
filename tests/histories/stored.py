"""Histories as files: the rows and the run's own row, with what differs from run to run replaced.

Every uuid becomes one that counts from 1, by its first appearance; every time is reckoned from the
row's seq; durations are 1 ms, random numbers 0.5, tracebacks and workers a word.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from grctl.engine.history import RunRecord, expand
from grctl.engine.rows import Row
from grctl.models.run import RunStatus

HERE = Path(__file__).parent
T0 = datetime(2024, 5, 1, 12, 0, tzinfo=UTC)
MICROS = 1000
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_TRACEBACK = re.compile(r'("stack_trace":)"(?:[^"\\]|\\.)*"')
_TIMES = ("created_at", "started_at", "cancel_requested_at", "message_at")
_LEFT_OUT = {"run_id", "age", "at"}
"""Of a row's columns: what the file has once, or what follows from the seq."""


@dataclass
class History:
    """One run's history, as a file has it."""

    record: RunRecord
    rows: list[Row]

    def to_json(self) -> dict[str, Any]:
        """Rows without what is empty; the public history, told from them."""
        record = {f.name: getattr(self.record, f.name) for f in fields(self.record)}
        return {
            "record": {name: _plain(v) for name, v in record.items() if v is not None},
            "rows": [
                {k: v for k, v in asdict(row).items() if v is not None and k not in _LEFT_OUT}
                for row in self.rows
            ],
            "history": [event.to_dict() for event in expand(self.rows, self.record)],
        }


def normalised(record: RunRecord, rows: Iterable[Row]) -> History:
    """A history as a file would have it."""
    uuids: dict[str, str] = {}

    def same(text: Any) -> Any:
        if isinstance(text, UUID):
            return UUID(same(str(text)))
        if not isinstance(text, str):
            return text
        text = _TRACEBACK.sub(r'\1"traceback"', text)
        return _UUID.sub(
            lambda found: uuids.setdefault(
                found.group(), f"00000000-0000-7000-8000-{len(uuids) + 1:012}"
            ),
            text,
        )

    times = {name: T0 for name in _TIMES if getattr(record, name) is not None}
    worker = None if record.worker_id is None else "worker"
    given = {f.name: same(getattr(record, f.name)) for f in fields(record)}
    return History(
        RunRecord(**{**given, **times, "worker_id": worker}),
        [_row(row, same, batch) for row, batch in _with_batches(rows)],
    )


def _row(row: Row, same: Any, batch: int) -> Row:
    given = {f.name: same(getattr(row, f.name)) for f in fields(row)}
    if row.kind == "timestamp.recorded":
        given["body"] = f'"{T0.isoformat()}"'
    elif row.kind == "random.recorded":
        given["body"] = "0.5"
    return replace(
        Row(**given),
        at=_at(row.seq),
        age=0.0,
        batch=batch,
        micros=None if row.micros is None else MICROS,
        worker_id=None if row.worker_id is None else "worker",
    )


def _with_batches(rows: Iterable[Row]) -> Iterable[tuple[Row, int]]:
    """Batches numbered from 1: which rows were committed together is all that counts."""
    last, number = None, 0
    for row in rows:
        if (row.epoch, row.batch) != last:
            last, number = (row.epoch, row.batch), number + 1
        yield row, number


def read(name: str) -> tuple[History, list[dict[str, Any]]]:
    """A file: the history, and the public one that it had when it was recorded."""
    found = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    record = dict(found["record"])
    run_id = record["run_id"] = UUID(record["run_id"])
    record["status"] = RunStatus(record["status"])
    record |= {name: datetime.fromisoformat(record[name]) for name in _TIMES if name in record}
    rows = [Row(**row, run_id=run_id, at=_at(row["seq"])) for row in found["rows"]]
    return History(RunRecord(**record), rows), found["history"]


def write(name: str, history: History) -> None:
    """Make or overwrite a file."""
    text = json.dumps(history.to_json(), indent=1, ensure_ascii=False)
    (HERE / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")


def comparable(history: History) -> dict[str, Any]:
    """All but the batches: which commits went together is a matter of the moment."""
    found = history.to_json()
    for row in found["rows"]:
        del row["batch"]
    return found


def _at(seq: int) -> datetime:
    return T0 + timedelta(seconds=seq)


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return value.isoformat() if isinstance(value, datetime) else value
