"""Where code stands: of a thread that runs, and of an asyncio task that waits."""

from __future__ import annotations

import asyncio
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

__all__ = ["of_function", "of_task", "of_thread"]

DEEPEST: Final = 20
"""Frames that are told, the innermost ones."""

_OURS: Final = f"{Path(__file__).parents[1]}/"
_ASYNCIO: Final = f"{Path(asyncio.__file__).parent}/"
_LOOP: Final = ("Runner.run", "BaseEventLoop.run_forever", "BaseEventLoop._run_once", "Handle._run")


def of_thread(innermost: FrameType | None) -> list[str]:
    """The stack that ends in this frame, innermost last; of an event loop, what the loop called."""
    frames = list(traceback.walk_stack(innermost))[::-1]
    loop = [place for place, (frame, _) in enumerate(frames) if _is_loop(frame.f_code)]
    return _told(frames[loop[-1] + 1 :] if loop else frames)


def of_task(task: asyncio.Task[Any]) -> list[str]:
    """What a task awaits, down to where nothing of Python's is left to be seen.

    Not ``Task.get_stack``: of a coroutine that waits it has the outermost frame alone.
    """
    return _told(_awaited(task.get_coro()))


def of_function(fn: Callable[..., Any]) -> list[str]:
    """The stack of the thread that runs this function, from the function on.

    Empty if there is none, or several: it is not known which of them is meant.
    """
    code = getattr(inspect.unwrap(fn), "__code__", None)
    found = [
        frames
        for innermost in sys._current_frames().values()  # noqa: SLF001 - documented for this
        if (frames := _from(code, innermost))
    ]
    return _told(found[0]) if len(found) == 1 else []


def _is_loop(code: CodeType) -> bool:
    return code.co_filename.startswith(_ASYNCIO) and code.co_qualname in _LOOP


def _awaited(awaiting: Any) -> Iterator[tuple[FrameType, int]]:
    while awaiting is not None:
        for kind in ("cr", "gi", "ag"):
            frame = getattr(awaiting, f"{kind}_frame", None)
            if frame is not None:
                yield frame, frame.f_lineno
                break
        awaiting = getattr(awaiting, "cr_await", None) or getattr(
            awaiting, "gi_yieldfrom", getattr(awaiting, "ag_await", None)
        )


def _from(code: CodeType | None, innermost: FrameType) -> list[tuple[FrameType, int]]:
    frames = list(traceback.walk_stack(innermost))
    for place, (frame, _) in enumerate(frames):
        if frame.f_code is code:
            return frames[place::-1]
    return []


def _told(frames: Iterable[tuple[FrameType, int]]) -> list[str]:
    told = [
        f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_qualname}"
        for frame, line in frames
        if not frame.f_code.co_filename.startswith(_OURS)
    ]
    return told[-DEEPEST:]
