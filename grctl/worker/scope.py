"""One attempt of one step: what its code asks for, and what of it is recorded.

Live, an outcome is handed to its caller when it is committed. In a replay, recorded outcomes are
handed out first, in their order and groups; outcomes of operations that go on live are held back
until then, so that the code sees them after what it saw before the crash.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakSet

from grctl.engine.codec import Codec, same_json
from grctl.engine.identity import Branch
from grctl.engine.replay import ROLES, Recorded, Replay
from grctl.engine.rows import Row
from grctl.postgres.batch import Answer, Commit
from grctl.postgres.journal import TURNS_BETWEEN_GROUPS

__all__ = ["CANCEL_ASKED", "Scope", "ScopeRun", "Turn", "recorded_as", "settle", "wait_for"]

COMMITTED = Answer("committed")

STALL_SECONDS = 1.0
"""How long a replay may stand still while live outcomes are held back for it. Code that has
changed may never ask for what history has; the step then goes on, and its end says so."""


class ScopeRun(Protocol):
    """What a scope needs of its run."""

    run_id: Any
    step_name: str

    @property
    def last_seq(self) -> int:
        """The seq of the last row that was put on its way."""

    def record(
        self,
        kind: str,
        *,
        op: str | None = None,
        name: str | None = None,
        place: int | None = None,
        attempt: int | None = None,
        micros: int | None = None,
        input: str | None = None,
        body: str | None = None,
        start: dict[str, Any] | None = None,
        message: dict[str, Any] | None = None,
    ) -> Commit:
        """Put a row of history on its way into the database."""


class ActiveCall(Protocol):
    """A task call whose body runs, since ``began`` by the monotonic clock."""

    began: float
    noted: bool

    def note_start(self) -> None:
        """Record its start, before its outcome."""


class Turn(asyncio.Future[None]):
    """A recorded outcome's turn. Not to be cancelled by who waits for it: it was recorded, so the
    caller had it.
    """

    __slots__ = ()

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ARG002 - see above
        """Never: see the class."""
        return False


class Scope:
    """What one attempt of one step has asked for. ``root`` is its branch."""

    def __init__(self, run: ScopeRun, codec: Codec, rows: list[Row], step_attempt: int) -> None:
        self.run = run
        self.codec = codec
        self.root = Branch(self)
        self.is_closed = False
        self.sleepers = 0
        self.bodies = 0
        self.cancel_requested = asyncio.Event()
        self.active: dict[str, ActiveCall] = {}
        """Task bodies that run, by key; the watch notes the starts of those that take long."""
        self._loop = asyncio.get_running_loop()
        self._spawned: WeakSet[asyncio.Task[Any]] = WeakSet()
        replay = Replay(rows, step_attempt, same_json) if rows else None
        self._replay = None if replay is None or replay.is_empty else replay
        self._replaying = self._replay is not None and not self._replay.is_over
        self._turns: dict[str, asyncio.Future[None]] = {}
        self._due_cancels: set[str] = set()
        self._counting = False
        self._held: list[Commit] = []
        self._stall: asyncio.TimerHandle | None = None

    @property
    def is_replaying(self) -> bool:
        """Whether recorded outcomes are still to be handed out."""
        return self._replaying

    @property
    def is_sleeping(self) -> bool:
        """Whether the step does nothing but sleep."""
        return self.sleepers > 0 and self.bodies == 0

    def spawned(self, task: asyncio.Task[Any]) -> None:
        """An asyncio task was made within the step."""
        self._spawned.add(task)

    def check_open(self) -> None:
        """RuntimeError once the step has ended: nothing more can be recorded for it."""
        if self.is_closed:
            raise RuntimeError(
                f"step {self.run.step_name!r} has ended: an asyncio task that it left behind "
                "asked for another operation. Await such tasks before the step returns"
            )

    def ask(self, key: str, kind: str, name: str | None, text: str | None) -> Recorded | None:
        """What history has of an operation that is begun now; None if it is new."""
        self.check_open()
        if self._replay is None:
            return None
        recorded = self._replay.ask(key, kind, name, text)
        if recorded is not None and self._replaying:
            self._pump()
        return recorded

    async def turn(self, recorded: Recorded) -> None:
        """Wait until a recorded outcome is to be handed to its caller.

        A cancellation that the step's code had asked for is awaited: it will ask again.
        """
        assert self._replay is not None
        assert recorded.outcome is not None
        if self._replay.is_carried(recorded):
            return
        if _was_asked_to_cancel(recorded.outcome):
            future: asyncio.Future[None] = self._loop.create_future()
        else:
            future = Turn(loop=self._loop)
        self._turns[recorded.key] = future
        self._pump()
        try:
            await future
        except asyncio.CancelledError:
            self._due_cancels.discard(recorded.key)
            self._pump()
            if self.is_closed or future.cancelled():
                raise

    def deliver(self, commit: Commit) -> None:
        """A row is committed: wake its caller, or hold it back while the replay goes on."""
        if self._replaying and ROLES.get(commit.row.kind, ("", ""))[1] == "outcome":
            self._held.append(commit)
            if self._stall is None:
                self._stall = self._loop.call_later(STALL_SECONDS, self._end_replay)
            return
        settle(commit)

    async def pause(self, seconds: float) -> None:
        """Wait as long, or until a cancel of the run is asked for."""
        if seconds <= 0:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.cancel_requested.wait()

    async def in_thread(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run a plain function in a thread, with the caller's context variables."""
        context = contextvars.copy_context()
        call = functools.partial(context.run, fn, *args, **kwargs)
        return await self._loop.run_in_executor(None, call)

    def check_all_asked(self) -> None:
        """NonDeterminismError if history has operations that the code did not ask for."""
        if self._replay is not None:
            self._replay.check_all_asked(self.run.step_name)

    def close(self) -> None:
        """The step is over: stop what it left behind; nothing more is recorded for it."""
        if self.is_closed:
            return
        self.is_closed = True
        if self._stall is not None:
            self._stall.cancel()
        for task in list(self._spawned):
            if not task.done():
                task.cancel()
        waited_for: list[asyncio.Future[Any]] = [*self._turns.values(), *self._held]
        for future in waited_for:
            if not future.done():
                asyncio.Future.cancel(future)

    def _pump(self) -> None:
        """Hand out the next group, some turns of the loop after all of it was asked for."""
        replay = self._replay
        if replay is None or self._counting or self._due_cancels or not self._replaying:
            return
        group = replay.next_group()
        if group is not None:
            self._counting = True
            self._after_turns(TURNS_BETWEEN_GROUPS, group)
        elif replay.is_over:
            self._end_replay()

    def _after_turns(self, turns: int, group: list[Recorded]) -> None:
        if turns:
            self._loop.call_soon(self._after_turns, turns - 1, group)
            return
        self._counting = False
        for recorded in group:
            future = self._turns.get(recorded.key)
            assert recorded.outcome is not None
            if future is None or future.done():
                continue
            if _was_asked_to_cancel(recorded.outcome):
                self._due_cancels.add(recorded.key)
            else:
                future.set_result(None)
        if self._stall is not None:
            self._stall.cancel()
            self._stall = self._loop.call_later(STALL_SECONDS, self._end_replay)
        self._pump()

    def _end_replay(self) -> None:
        """From here on outcomes are handed out as they are committed."""
        self._replaying = False
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        held, self._held = self._held, []
        for commit in held:
            settle(commit)


async def wait_for(commit: Commit, scope: Scope) -> Answer:
    """The database's answer to a record, once its outcome may be seen.

    A cancellation that comes meanwhile changes nothing: what was recorded is what happened. Only
    if the step itself is over does it count.
    """
    try:
        return await commit
    except asyncio.CancelledError:
        if scope.is_closed or not commit.done() or commit.cancelled():
            raise
        return commit.result()


def recorded_as(**members: str | None) -> str:
    """A JSON object of members that are JSON texts already."""
    return "{" + ",".join(f'"{k}":{v}' for k, v in members.items() if v is not None) + "}"


def settle(commit: Commit) -> None:
    """Wake whoever waits for a record."""
    if not commit.done():
        commit.set_result(commit.answer or COMMITTED)


def _was_asked_to_cancel(outcome: Row) -> bool:
    return (outcome.kind == "task.cancelled" and outcome.body == CANCEL_ASKED) or (
        outcome.kind == "sleep.completed" and outcome.body == CANCEL_ASKED
    )


CANCEL_ASKED = '{"asked":true}'
"""The body of an outcome that is a cancellation by the step's own code."""
