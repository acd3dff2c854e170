"""One worker as a process: its event loop, its signals, its end.

The first SIGTERM or SIGINT drains the worker, the second stops it at once, the third breaks off
whatever runs. What no worker can survive (SystemExit in a task, a defect) ends the
process like a crash: nothing is tidied up, nothing recorded, and others take its runs over.
"""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from types import FrameType
from typing import Literal
from urllib.parse import urlsplit

from grctl.client.connection import Connection
from grctl.errors import ConfigurationError, GrctlError
from grctl.log import get_logger
from grctl.settings import Settings
from grctl.telemetry import Metrics, sdk
from grctl.version import __version__
from grctl.worker.worker import STOP_GRACE_SECONDS, Worker
from grctl.workflow.workflow import Workflow

__all__ = ["LoopName", "end_process", "run_worker"]

LoopName = Literal["auto", "uvloop", "asyncio"]

CRASHED = 1
"""The exit code of a process that ended like a crash."""

MOST_THREADS = 64
"""How many plain `def` tasks run at once; they mostly wait, so it is no matter of processors."""

WIND_UP_SECONDS = 2.0
"""What is left of the users' asyncio tasks and threads gets to end, once the worker has."""

log = get_logger("grctl.worker")


class _Stopping:
    """Turns signals into what the worker is told."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._worker: Worker | None = None
        self._main: asyncio.Task[None] | None = None
        self._signals = 0
        self._acts: set[asyncio.Task[None]] = set()

    @property
    def is_asked_for(self) -> bool:
        """Whether a signal came."""
        return self._signals > 0

    def listen(self) -> None:
        """Take the signals of this process."""
        # Not loop.add_signal_handler: a step that blocks the loop would block the third one, too.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._received)

    def begins(self) -> None:
        """The current asyncio task is the one to cancel while there is no worker yet."""
        self._main = asyncio.current_task()
        if self.is_asked_for:
            raise asyncio.CancelledError

    def concerns(self, worker: Worker) -> None:
        """From now on this is what is stopped."""
        self._worker = worker

    def _received(self, number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals == 3:
            # Out of whatever code the main thread is in, and through to run_worker.
            raise SystemExit(128 + number)
        if self._signals > 3:
            os._exit(128 + number)
        self._loop.call_soon_threadsafe(self._act, self._signals)

    def _act(self, count: int) -> None:
        if self._worker is None:
            if self._main is not None:
                self._main.cancel()
            return
        seconds = None if count == 1 else 0.0
        task = self._loop.create_task(self._stop(self._worker, seconds), name="stop")
        self._acts.add(task)
        task.add_done_callback(self._acts.discard)

    async def _stop(self, worker: Worker, seconds: float | None) -> None:
        limit = worker.settings.shutdown_seconds if seconds is None else seconds
        try:
            async with asyncio.timeout(limit + 3 * STOP_GRACE_SECONDS):
                await worker.stop(seconds)
        except TimeoutError:
            # The database is away just now, and the worker is patient. Its lease runs out alone.
            log.error("worker does not stop", worker=worker.worker_id)
            assert self._main is not None
            self._main.cancel()


def run_worker(
    workflows: Sequence[Workflow],
    settings: Settings,
    *,
    loop: LoopName = "auto",
    is_stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Execute runs of ``workflows`` until a signal ends that; blocks.

    Returns the exit code: 0 after a drain, 1 after what amounts to a crash. The process must end
    then, by ``end_process``. ``is_stopped``: whether a signal came before the call, for who takes
    the signals until then.

    ConfigurationError, DatabaseNotMigratedError and DatabaseTooNewError as long as nothing was
    begun. Only in the main thread of a process that is the worker's own.
    """
    factory = _loop_factory(loop)
    runner = asyncio.Runner(loop_factory=factory)
    stopping = _Stopping(runner.get_loop())
    stopping.listen()
    if is_stopped():
        runner.close()
        return 0
    try:
        runner.run(_serve(workflows, settings, stopping))
    except asyncio.CancelledError:
        if not stopping.is_asked_for:
            raise
    except GrctlError:
        _wind_up(runner)
        raise
    except BaseException as error:
        log.critical("worker crashed", error=f"{type(error).__name__}: {error}", exc_info=error)
        return CRASHED
    _wind_up(runner)
    return 0


def end_process(code: int) -> None:
    """End this process with ``code``: right now if it crashed, or if threads would hold it up."""
    sys.stdout.flush()
    sys.stderr.flush()
    if code == CRASHED:
        os._exit(code)
    sdk.shut_down()
    if left := _threads_left():
        log.warning("tasks left in threads", threads=left)
        os._exit(code)
    sys.exit(code)


async def _serve(workflows: Sequence[Workflow], settings: Settings, stopping: _Stopping) -> None:
    stopping.begins()
    threads = ThreadPoolExecutor(min(settings.concurrency, MOST_THREADS), "grctl task")
    asyncio.get_running_loop().set_default_executor(threads)
    try:
        await _work(workflows, settings, stopping)
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


async def _work(workflows: Sequence[Workflow], settings: Settings, stopping: _Stopping) -> None:
    _say_what_starts(workflows, settings)
    sdk.set_up(settings)
    metrics = None if settings.metrics_port is None else Metrics()
    async with await Connection.connect(settings=settings) as connection:
        worker = Worker(workflows, connection, metrics=metrics)
        with _endpoint(worker):
            stopping.concerns(worker)
            _spare_the_collector()
            await worker.start()


def _endpoint(worker: Worker) -> AbstractContextManager[object]:
    settings, metrics = worker.settings, worker.metrics
    if settings.metrics_port is None or metrics is None:
        return nullcontext()
    from grctl.telemetry.endpoint import Endpoint  # noqa: PLC0415 - an extra

    return Endpoint(
        settings.metrics_host, settings.metrics_port, worker.database, metrics, worker.vitals
    )


def _spare_the_collector() -> None:
    """What was imported stays, and runs leave few cycles: looking less often saves 10 % of CPU."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _say_what_starts(workflows: Sequence[Workflow], settings: Settings) -> None:
    place = urlsplit(settings.require_database_url())
    loop = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    log.info(
        "worker starting",
        version=__version__,
        workflows=sorted(workflow.workflow_type for workflow in workflows),
        # Without the credentials, and without parameters: a password may be among them.
        database=f"{place.netloc.rpartition('@')[2]}{place.path}",
        schema=settings.db_schema,
        concurrency=settings.concurrency,
        lease_seconds=settings.lease_seconds,
        shutdown_seconds=settings.shutdown_seconds,
        loop=loop,
        python=platform.python_version(),
        pid=os.getpid(),
    )


def _loop_factory(name: LoopName) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if name == "asyncio":
        return None
    try:
        import uvloop  # noqa: PLC0415  an extra
    except ImportError as error:
        if name == "auto":
            return None
        raise ConfigurationError(
            "uvloop is not installed: install it with `pip install 'grctl[fast]'`, or choose "
            "--loop asyncio"
        ) from error
    return uvloop.new_event_loop


def _wind_up(runner: asyncio.Runner) -> None:
    """Stop what users' code has left in the loop; what does not stop is left behind.

    ``Runner.close`` would wait for it, without end.
    """

    async def cancel_the_rest() -> None:
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=WIND_UP_SECONDS)

    runner.get_loop().run_until_complete(cancel_the_rest())


def _threads_left() -> list[str]:
    """Threads that would keep the process from its end."""
    threads = [
        thread
        for thread in threading.enumerate()
        if thread is not threading.main_thread() and not thread.daemon
    ]
    for thread in threads:
        thread.join(WIND_UP_SECONDS / len(threads))
    return [thread.name for thread in threads if thread.is_alive()]
