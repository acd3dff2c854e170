"""One attempt of one step: what its code asks for, and what of it is recorded.

Live, an outcome is handed to its caller when it is committed. In a replay, recorded outcomes are
handed out first, in their order and groups; outcomes of operations that go on live are held back
until then, so that the code sees them after what it saw before the crash.

A group is handed out when the code has come to rest: some turns of the event loop after it last
asked for anything. So it is in the same place, whenever a group comes, live and in a replay. A
step of a single asyncio task needs no such care: there is nobody whose order could differ.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

from grctl.engine.codec import Codec, same_json
from grctl.engine.identity import Branch
from grctl.engine.replay import CANCEL_ASKED, CANCEL_RECEIVED, ROLES, Recorded, Replay
from grctl.engine.rows import Row
from grctl.log import get_logger
from grctl.postgres.batch import Answer, Commit
from grctl.worker.branches import running
from grctl.worker.clock import pause
from grctl.worker.turns import CancelTurn, Turn

if TYPE_CHECKING:
    from grctl.telemetry.tracing import Tracing
    from grctl.worker.branches import BranchTask

__all__ = [
    "CANCEL_ASKED",
    "Scope",
    "ScopeRun",
    "is_recorded",
    "recorded_as",
    "settle",
    "wait_for",
]

log = get_logger("grctl.scope")

COMMITTED = Answer("committed")

TURNS_TO_REST = 8
TURNS_A_BRANCH = 3
"""How many turns of the loop an outcome is given to show all its effects: so many, and more for
each asyncio task between it and the root (a gather or a task group takes two to pass it up)."""

STALL_SECONDS = 5.0
"""After how long it is logged that a replay stands still. It may be right to: code can wait for
things that are not recorded. If it has changed, the step's timeout ends it."""


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


class TaskFunction(Protocol):
    """What a task call calls: a coroutine function, or one that is run in a thread."""

    name: str
    is_async: bool

    @property
    def fn(self) -> Callable[..., Any]:
        """The function itself."""


class ActiveCall(Protocol):
    """A task call whose body runs in ``task``, since ``began`` by the monotonic clock."""

    attempt: int
    task: BranchTask | None
    began: float
    noted: bool

    @property
    def spec(self) -> TaskFunction:
        """What is called."""

    def note_start(self) -> None:
        """Record its start, before its outcome."""


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
        self.fatal: BaseException | None = None
        """What a task raised that ends the worker: its step can neither go on nor end."""
        self.tracing: Tracing | None = None
        self.active: dict[str, ActiveCall] = {}
        """Task bodies that run, by key; the watch notes the starts of those that take long."""
        self.loop = asyncio.get_running_loop()
        self._spawned: WeakSet[asyncio.Task[Any]] | None = None
        replay = Replay(rows, step_attempt, same_json) if rows else None
        self._replay = None if replay is None or replay.is_empty else replay
        self._replaying = self._replay is not None and not self._replay.is_over
        self._turns: dict[str, asyncio.Future[None]] = {}
        self._held: deque[list[Commit]] = deque()
        self._in_batch = False
        self._depth = 0
        self._turns_left = 0
        self._reading = 0
        self._stall: asyncio.TimerHandle | None = None
        if self._replaying:
            self._watch_stall(-1)
            self._stir()

    @property
    def is_replaying(self) -> bool:
        """Whether recorded outcomes are still to be handed out."""
        return self._replaying

    @property
    def is_sleeping(self) -> bool:
        """Whether the step does nothing but sleep."""
        return self.sleepers > 0 and self.bodies == 0

    @property
    def has_cancel_received(self) -> bool:
        """Whether history says that the step's code saw a request to cancel the run."""
        return self._replay is not None and self._replay.has_cancel_received

    def spawned(self, task: asyncio.Task[Any], depth: int) -> None:
        """An asyncio task was made within the step, so many below its root."""
        if self._spawned is None:
            self._spawned = WeakSet()
        self._spawned.add(task)
        self._depth = max(self._depth, depth)
        self._stir()

    def spawned_tasks(self) -> list[asyncio.Task[Any]]:
        """The asyncio tasks that were made within the step and have not ended."""
        return [task for task in self._spawned or () if not task.done()]

    def check_open(self) -> None:
        """RuntimeError once the step has ended: nothing more can be recorded for it. And what ends
        the worker, whatever the code made of it.
        """
        if self.fatal is not None:
            raise self.fatal
        if self.is_closed:
            raise RuntimeError(
                f"step {self.run.step_name!r} has ended: an asyncio task that it left behind "
                "asked for another operation. Await such tasks before the step returns"
            )

    def ask(self, key: str, kind: str, name: str | None, text: str | None) -> Recorded | None:
        """What history has of an operation that is begun now; None if it is new."""
        self.check_open()
        if self._replaying or self._depth:
            self._stir()
        return None if self._replay is None else self._replay.ask(key, kind, name, text)

    async def turn(self, recorded: Recorded) -> None:
        """Wait until a recorded outcome is to be handed to its caller.

        If it is a cancellation that the step's code had asked for, it comes as CancelledError,
        after the code has asked for it again.
        """
        assert self._replay is not None
        if self._replay.is_carried(recorded):
            return
        task = running(self.loop)
        seen = task.cancels_seen if task is not None else 0
        future: asyncio.Future[None]
        if recorded.awaits_cancel:
            future = CancelTurn(functools.partial(self._asked_again, recorded), loop=self.loop)
            if task is not None:
                task.claim_cancels()
        else:
            future = Turn(loop=self.loop)
        self._turns[recorded.key] = future
        try:
            await future
        except asyncio.CancelledError:
            if self.is_closed or future.cancelled():
                raise
        if task is not None:
            task.owe_cancels(seen)

    def deliver(self, commit: Commit) -> None:
        """A row is committed: hand its outcome out as soon as the code rests, after all before.

        All of a batch is delivered in one go, and is handed out in one go.
        """
        is_alone = not self._replaying and not self._depth and not self._held
        if is_alone or self.is_closed or not _is_seen(commit.row.kind):
            self._settle(commit)
            return
        if not self._in_batch:
            self._in_batch = True
            self._held.append([])
            self.loop.call_soon(self._end_batch)
        self._held[-1].append(commit)

    async def pause(self, seconds: float) -> None:
        """Wait as long, or until a cancel of the run is asked for."""
        if seconds > 0:
            await pause(seconds, self.cancel_requested)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """The code waits for its store. That is no rest: a replay, which has read it, goes on."""
        self._reading += 1
        try:
            yield
        finally:
            self._reading -= 1
            if self._replaying or self._depth:
                self._stir()

    async def in_thread(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Run a plain function in a thread, with the caller's context variables."""
        context = contextvars.copy_context()
        call = functools.partial(context.run, _called, fn, args, kwargs)
        return await self.loop.run_in_executor(None, call)

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
        for task in self.spawned_tasks():
            task.cancel()
        held = (commit for group in self._held for commit in group)
        waited_for: list[asyncio.Future[Any]] = [*self._turns.values(), *held]
        for future in waited_for:
            if not future.done():
                asyncio.Future.cancel(future)

    def _stir(self) -> None:
        """The code moves: let the loop go round until it must have come to rest."""
        is_moving = self._turns_left > 0
        self._turns_left = TURNS_TO_REST + TURNS_A_BRANCH * self._depth
        if not is_moving:
            self.loop.call_soon(self._go_round)

    def _go_round(self) -> None:
        self._turns_left -= 1
        if self._turns_left > 0:
            self.loop.call_soon(self._go_round)
        else:
            self._pump()

    def _pump(self) -> None:
        """The code rests: hand out the next group, if it waits for all of it."""
        if self.is_closed or self._reading:
            return
        if self._replaying:
            assert self._replay is not None
            group = self._replay.next_group()
            if group is not None:
                for recorded in group:
                    self._hand_out(recorded)
                self._stir()
                return
            if not self._replay.is_over:
                return
        if self._held:
            for commit in self._held.popleft():
                self._settle(commit)
            self._stir()
        elif self._replaying:
            self._end_replay()

    def _end_batch(self) -> None:
        self._in_batch = False
        if not self._turns_left:
            self._pump()

    def _hand_out(self, recorded: Recorded) -> None:
        assert recorded.outcome is not None
        if recorded.kind == CANCEL_RECEIVED:
            self.cancel_requested.set()
            return
        future = self._turns.get(recorded.key)
        if future is None or future.done():
            return
        if isinstance(future, CancelTurn):
            asyncio.Future.cancel(future)
        else:
            future.set_result(None)

    def _asked_again(self, recorded: Recorded) -> None:
        recorded.awaits_cancel = False
        self._stir()

    def _settle(self, commit: Commit) -> None:
        if commit.row.kind == CANCEL_RECEIVED:
            self.cancel_requested.set()
        settle(commit)

    def _end_replay(self) -> None:
        """From here on outcomes are handed out as they are committed."""
        self._replaying = False
        if self._stall is not None:
            self._stall.cancel()

    def _watch_stall(self, left: int) -> None:
        """Look again every while; say it once if nothing has moved since the last look."""
        replay = self._replay
        assert replay is not None
        if replay.left != left:
            self._stall = self.loop.call_later(STALL_SECONDS, self._watch_stall, replay.left)
            return
        log.warning(
            "replay stands still",
            run_id=str(self.run.run_id),
            step=self.run.step_name,
            waits_for=replay.waits_for,
        )


async def wait_for(commit: Commit, scope: Scope | None, *, owing: bool = True) -> Answer:
    """The database's answer to a record, once its outcome may be seen.

    A cancellation that comes meanwhile changes nothing about it: what was recorded is what
    happened. It is owed, and takes effect at the task's next operation; not with ``owing`` False,
    as the caller will raise CancelledError anyway. Only if the step itself is over does it count.
    Without a scope it is the step's own end that is waited for.
    """
    task = running(commit.get_loop())
    seen = task.cancels_seen if task is not None else 0
    try:
        return await commit
    except asyncio.CancelledError:
        if not is_recorded(commit, scope):
            raise
        if task is not None and owing:
            task.owe_cancels(seen)
        return commit.result()


def is_recorded(commit: Commit, scope: Scope | None) -> bool:
    """Whether a record that was waited for is committed, and the step still goes on."""
    return commit.done() and not commit.cancelled() and not (scope is not None and scope.is_closed)


def recorded_as(**members: str | None) -> str:
    """A JSON object of members that are JSON texts already."""
    return "{" + ",".join(f'"{k}":{v}' for k, v in members.items() if v is not None) + "}"


def settle(commit: Commit) -> None:
    """Wake whoever waits for a record."""
    if not commit.done():
        commit.set_result(commit.answer or COMMITTED)


def _called(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a plain function gives or raises; a StopIteration as coroutines raise it: no future of
    asyncio takes one, and before Python 3.12 whoever awaited this would wait for ever.
    """
    try:
        return fn(*args, **kwargs)
    except StopIteration as error:
        name = getattr(fn, "__qualname__", repr(fn))
        raise RuntimeError(f"{name} raised StopIteration") from error


def _is_seen(kind: str) -> bool:
    """Whether a row of this kind tells the step's code something."""
    return kind == CANCEL_RECEIVED or ROLES.get(kind, _OTHER)[1] == "outcome"


_OTHER = ("", "")
