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
                return 0 if asyncio.run(Demo(place, screen).run(dsn)) else 1
    except KeyboardInterrupt:
        screen.error("interrupted; nothing is left running")
        return 130
    except (DemoFailedError, GrctlError) as error:
        screen.error(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
