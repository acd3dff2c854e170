"""A worker process that is started without the command line."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.processes import WorkerProcess


class RunnerProcess(WorkerProcess):
    """As `WorkerProcess`, by `tests.support.run_worker`: the worker alone, nothing around it."""

    def __init__(
        self, *modules: str, database_url: str, env: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(*modules, database_url=database_url, env=env)
        self._arguments = ("-m", "tests.support.run_worker", *modules)
