"""A workflow whose task does what is hard on the worker's process. Files tell it when."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from grctl.worker import Context, task
from grctl.workflow import Directive, Workflow

ending = Workflow("ending")


class OddError(BaseException):
    """Neither an Exception nor one that asyncio knows."""


@task
async def act(how: str, place: str) -> str:
    """Touch `started`; then what `how` says."""
    (Path(place) / "started").touch()
    go = Path(place) / "go"
    if how == "wait":
        while not go.exists():  # noqa: ASYNC110  the event is another process's
            await asyncio.sleep(0.02)
    elif how == "block":
        while not go.exists():
            time.sleep(0.02)  # noqa: ASYNC251  that is the point
    elif how == "deaf":
        while not go.exists():
            try:
                await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                (Path(place) / "deaf").touch()
    else:
        _crash_once(how, Path(place))
    return f"{how}: done"


@task
def act_in_thread(how: str, place: str) -> str:
    """The same for a plain function."""
    (Path(place) / "started").touch()
    if how == "wait":
        while not (Path(place) / "go").exists():
            time.sleep(0.02)
    else:
        _crash_once(how, Path(place))
    return f"{how}: done"


def _crash_once(how: str, place: Path) -> None:
    crashed = place / "crashed"
    if crashed.exists():
        return
    crashed.touch()
    if how == "exit":
        sys.exit(0)
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "odd":
        raise OddError


@ending.start()
async def begin(ctx: Context, how: str, place: str, thread: bool = False) -> Directive:
    acting = act_in_thread if thread else act
    # In an asyncio task of its own, as gather makes them.
    (result,) = await asyncio.gather(acting(how, place))
    return ctx.next.complete(result)
