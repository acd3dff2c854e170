from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from examples.demo.audit import Audit, Killed, audit
from examples.order.ledger import Entry, key_of
from grctl.models import ErrorDetails, HistoryEvent
from grctl.models.history import (
    MESSAGE_CLASSES,
    TaskAttemptFailed,
    TaskCompleted,
    TaskStarted,
)
from grctl.models.messages import HistoryMessage
from tests.support import environment, wait_until

KILLED = Killed(pid=1, worker_id="first", at=100.0)
INPUTS = {"order_id": "o"}


def event(at: float, message: HistoryMessage) -> HistoryEvent:
    return HistoryEvent(
        wf_id="o",
        run_id=UUID(int=1),
        seq=1,
        timestamp=datetime.fromtimestamp(at, UTC),
        kind=next(kind for kind, made in MESSAGE_CLASSES.items() if made is type(message)),
        msg=message,
        operation_id="1",
        worker_id="first" if at < KILLED.at else "second",
        step_name="s",
    )


def history(*, done_at: float, failed_at: float | None = None) -> list[HistoryEvent]:
    """Of a run with one call, perhaps with a failed attempt before its success."""
    events = [event(1, TaskStarted("1", "book_carrier", INPUTS, "s"))]
    if failed_at is not None:
        error = ErrorDetails(type="CarrierBusyError")
        failed = TaskAttemptFailed("1", "book_carrier", "s", 1, 5, error, 100, 10)
        events.append(event(failed_at, failed))
    events.append(event(done_at, TaskCompleted("1", "book_carrier", {"result": 1}, "s", 10)))
    return events


def begun(*starts: tuple[int, float]) -> list[Entry]:
    return [Entry("start", "book_carrier", key_of(INPUTS), pid, at) for pid, at in starts]


def judged(events: list[HistoryEvent], ledger: list[Entry]) -> Audit:
    return audit([events], ledger, KILLED)


def test_a_task_that_was_recorded_and_ran_once_is_right():
    result = judged(history(done_at=50), begun((1, 40)))
    assert (result.recorded_at_kill, result.run_again, result.wrong) == (1, 0, [])
    assert not result.cut_off


def test_a_task_that_was_cut_off_and_ran_once_more_is_right():
    result = judged(history(done_at=105), begun((1, 99), (2, 103)))
    assert result.wrong == []
    assert len(result.cut_off) == 1
    assert result.recovery_seconds == 3


def test_what_the_killed_worker_recorded_at_the_last_moment_was_recorded():
    started, completed = history(done_at=100.01)
    by_the_first = dataclasses.replace(completed, worker_id="first")
    result = judged([started, by_the_first], begun((1, 99)))
    assert (result.recorded_at_kill, result.wrong, len(result.cut_off)) == (1, [], 0)


def test_recorded_attempts_count():
    result = judged(history(failed_at=90, done_at=105), begun((1, 80), (1, 99), (2, 103)))
    assert result.wrong == []
    assert len(result.cut_off) == 1


@pytest.mark.parametrize(
    ("events", "ledger", "what"),
    [
        (history(done_at=50), begun((1, 40), (2, 103)), "recorded before the kill, and run again"),
        (history(done_at=50), begun((1, 40), (1, 45)), "begun 2 times before the kill"),
        (history(done_at=105), begun((1, 98), (1, 99), (2, 103)), "begun 2 times before the kill"),
        (history(done_at=105), begun((1, 99), (2, 103), (2, 104)), "begun 2 times after the kill"),
        (history(done_at=105), begun((1, 99)), "begun 0 times after the kill"),
        (history(done_at=50)[:1], begun((1, 40)), "without an outcome"),
        ([], begun((1, 40)), "not in history"),
    ],
)
def test_whatever_breaks_the_rule_is_found(events, ledger, what):
    assert what in " ".join(judged(events, ledger).wrong)


async def demo(place: Path) -> asyncio.subprocess.Process:
    """`python -m examples.demo`, with its files in `place`."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "examples.demo",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        # A setting that leads elsewhere must not matter.
        env=environment(TMPDIR=str(place), GRCTL_SCHEMA="elsewhere"),
    )  # fmt: skip


def processes_of(place: Path) -> list[str]:
    """Processes whose environment or working directory names `place`."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            environ = (each / "environ").read_bytes().decode(errors="replace")
            cwd = os.readlink(each / "cwd")  # noqa: PTH115  Path would drop "(deleted)"
        except OSError:
            continue
        if f"TMPDIR={place}\0" in environ or cwd.startswith(f"{place}{os.sep}"):
            found.append(each.name)
    return found


@pytest.fixture
def place(server_home: Path) -> Path:
    server_home.mkdir()
    server_home.chmod(0o755)
    return server_home


@pytest.mark.slow
async def test_the_demo_holds_what_it_promises_and_leaves_nothing_behind(place):
    process = await demo(place)
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    text = out.decode()
    assert process.returncode == 0, text
    assert "45 orders shipped, each charged once; 5 declined and undone" in text
    assert "run again: 0" in text
    assert text.count("✓") == 4
    assert "\x1b" not in text
    assert list(place.iterdir()) == []
    assert processes_of(place) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_demo_leaves_nothing_behind(place, how):
    process = await demo(place)
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            if b"orders" in line:
                break
        process.send_signal(how)
        out, _ = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 130, out.decode()
    assert "interrupted; nothing is left running" in out.decode()
    await wait_until(lambda: not processes_of(place), "no process is left")
    assert list(place.iterdir()) == []
