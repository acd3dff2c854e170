"""The demo as a program. Exit code 0 if every check holds; nothing is left behind, whatever
happens."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from pathlib import Path

from examples.demo.processes import DemoFailedError, postgres
from examples.demo.screen import Screen
from examples.demo.story import Demo
from grctl.errors import GrctlError


def main() -> int:
    """Run it. The exit code."""
    # It ends like Ctrl-C does: by way of every `finally`.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Settings for another database are none for this one.
    for name in [each for each in os.environ if each.startswith("GRCTL_")]:
        if name != "GRCTL_PG_BIN":
            del os.environ[name]
    screen = Screen()
    try:
        with tempfile.TemporaryDirectory(prefix="grctl-demo-") as directory:
            place = Path(directory)
            with postgres(place) as dsn:
                screen.step("PostgreSQL has started")
                held = asyncio.run(_until_told(Demo(place, screen), dsn))
                if held is None:
                    raise KeyboardInterrupt
                return 0 if held else 1
    except KeyboardInterrupt:
        screen.error("interrupted; nothing is left running")
        return 130
    except (DemoFailedError, GrctlError) as error:
        screen.error(str(error))
        return 1


async def _until_told(demo: Demo, dsn: str) -> bool | None:
    """Whether every check held; None if a signal came first.

    Both signals cancel, as asyncio itself does for SIGINT: an exception thrown into whatever code
    the loop is running could leave its clean-up waiting for ever.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        return await demo.run(dsn)
    except asyncio.CancelledError:
        return None
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.default_int_handler)


if __name__ == "__main__":
    sys.exit(main())
