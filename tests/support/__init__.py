"""What tests of several parts use: a database, a condition to wait for, a real worker process."""

from __future__ import annotations

from tests.support.database import Database
from tests.support.processes import Finished, WorkerProcess, environment, run_cli
from tests.support.waiting import wait_until

__all__ = ["Database", "Finished", "WorkerProcess", "environment", "run_cli", "wait_until"]
