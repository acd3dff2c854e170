"""A record of side effects that knows nothing of grctl: what a task's body really did, and when.

One line when a body starts and one when it ends, appended to the file that ORDER_LEDGER names; the
demo compares them with the history. Without that variable nothing is written.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VARIABLE = "ORDER_LEDGER"


@dataclass(frozen=True, slots=True)
class Entry:
    """A body that starts, or ends; ``inputs`` is JSON with sorted keys."""

    mark: str
    task: str
    inputs: str
    pid: int
    at: float


@asynccontextmanager
async def effect(task: str, **inputs: Any) -> AsyncIterator[None]:
    """Note the start of a task's body, and its end: not that of one that is cut off."""
    _append("start", task, inputs)
    try:
        yield
    except Exception:
        _append("fail", task, inputs)
        raise
    _append("end", task, inputs)


def read(path: Path) -> list[Entry]:
    """All entries, in the order in which they were made."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [Entry(**json.loads(line)) for line in lines if line.endswith("\n")]


def key_of(inputs: dict[str, Any]) -> str:
    """Inputs as ``Entry.inputs`` has them."""
    return json.dumps(inputs, sort_keys=True)


def _append(mark: str, task: str, inputs: dict[str, Any]) -> None:
    path = os.environ.get(VARIABLE)
    if not path:
        return
    entry = {
        "mark": mark, "task": task, "inputs": key_of(inputs), "pid": os.getpid(), "at": time.time()
    }  # fmt: skip
    # One write, in append mode: whole lines, whoever else writes and whenever we are killed.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, f"{json.dumps(entry)}\n".encode())
    finally:
        os.close(descriptor)
