"""Without an extra, what needs it says how to get it; all else does without."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support import Database, WorkerProcess, run_cli
from tests.support.processes import REPOSITORY
from tests.telemetry.conftest import MODULE

MISSING = "raise ImportError('not installed, for this test')\n"


@pytest.fixture
def without(tmp_path: Path) -> dict[str, str]:
    """The environment of a process in which none of the extras can be imported."""
    for name in ("prometheus_client", "opentelemetry"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(MISSING)
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPOSITORY)])}


async def test_a_metrics_port_without_prometheus_client(
    database: Database, without: dict[str, str]
):
    ended = await run_cli(
        "worker", MODULE, "--metrics-port", "0", database_url=database.dsn, env=without
    )
    assert ended.code == 2
    assert "pip install 'grctl[metrics]'" in ended.err


async def test_tracing_without_opentelemetry(database: Database, without: dict[str, str]):
    for command in (("worker", MODULE), ("types",)):
        ended = await run_cli(
            *command, database_url=database.dsn, env=without | {"GRCTL_TRACING": "1"}
        )
        assert ended.code == 2
        assert "pip install 'grctl[otel]'" in ended.err


async def test_a_worker_that_asks_for_neither_needs_neither(
    database: Database, without: dict[str, str]
):
    async with WorkerProcess(MODULE, database_url=database.dsn, env=without) as worker:
        worker.terminate()
        assert await worker.wait() == 0
