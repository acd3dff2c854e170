"""The deployment, really run: `make deployment`. Needs a Docker engine, and takes a few minutes.

With `GRCTL_TEST_WHEELHOUSE=1` the image is built from wheels that this Python makes first: for an
engine whose builds reach no PyPI.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.deployment.compose import REPOSITORY, Deployment, docker, is_there, wait_until

pytestmark = [
    pytest.mark.docker,
    pytest.mark.skipif(not is_there(), reason="no Docker engine with compose answers"),
]

LEASE_SECONDS = 5


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    """PostgreSQL, the migration, two workers and the dashboard, all of them healthy."""
    environ = {
        "GRCTL_IMAGE": "grctl-example:first",
        "GRCTL_LEASE_SECONDS": str(LEASE_SECONDS),
        "GRCTL_CONCURRENCY": "50",  # so that one worker does not take it all
        "GRCTL_DASHBOARD_TOKEN": secrets.token_hex(16),
    }
    if os.environ.get("GRCTL_TEST_WHEELHOUSE"):
        subprocess.run(
            [REPOSITORY / "deploy" / "make-wheelhouse"],
            env={**os.environ, "PYTHON": sys.executable},
            check=True,
        )
        environ["PIP_NO_INDEX"] = "1"
    made = Deployment(f"grctltest{secrets.token_hex(3)}", environ)
    try:
        made.compose("build")
        made.compose("up", "--detach")
        wait_until(lambda: made.is_healthy("worker", 2), "two workers are healthy")
        wait_until(lambda: made.is_healthy("dashboard", 1), "the dashboard is healthy")
        yield made
        print(made.compose("logs", "--no-color", "--tail", "40", check=False))  # noqa: T201
    finally:
        made.down()


def ended(deployment: Deployment, prefix: str) -> int:
    return int(
        deployment.sql(
            "select count(*) from grctl.runs "
            f"where wf_id like '{prefix}-%' and status = 'completed'"
        )
    )


def check_charges(deployment: Deployment, prefix: str, count: int) -> None:
    """Each order was charged, and that was recorded once."""
    recorded = deployment.sql(
        "select count(*), count(distinct run_id) from grctl.events join grctl.runs using (run_id) "
        f"where wf_id like '{prefix}-%' and name = 'charge_card' and kind = 'task.completed'"
    )
    assert recorded == f"{count}|{count}"


def test_the_schema_was_migrated_before_the_workers_started(deployment: Deployment) -> None:
    (migrate,) = deployment.containers("migrate", all=True)
    state = deployment.state(migrate)
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
    assert "up to date" in deployment.grctl("db", "check")


def test_the_image_is_slim_and_runs_as_nobody_of_note(deployment: Deployment) -> None:
    (worker, _) = deployment.containers("worker")
    assert docker("exec", worker, "id", "-u").strip() == "10001"
    assert "grctl" in docker("exec", worker, "cat", "/proc/1/cmdline")
    with pytest.raises(AssertionError, match=r"(?i)read-only"):
        docker("exec", worker, "touch", "/app/x")
    assert docker("exec", worker, "sh", "-c", "command -v gcc || echo none").strip() == "none"


def test_a_workflow_runs(deployment: Deployment) -> None:
    order = {"id": "one", "items": ["book"], "card": "good", "amount_cents": 990}
    printed = deployment.grctl(
        "run", "order", "--id", "one", "--input", json.dumps({"order": order})
    )
    assert json.loads(printed) == {"receipt": "receipt-one", "parcels": ["parcel-one/book"]}
    assert "charge_card" in deployment.grctl("history", "one")


def test_a_killed_worker_loses_nothing(deployment: Deployment) -> None:
    deployment.start_orders("kill", 200)
    wait_until(lambda: deployment.sql("select count(*) from grctl.events") != "0", "they run")
    victim, _ = deployment.containers("worker")
    docker("kill", "--signal", "KILL", victim)
    took = wait_until(lambda: ended(deployment, "kill") == 200, "all orders are done")
    check_charges(deployment, "kill", 200)
    assert took < LEASE_SECONDS + 60
    deployment.compose("up", "--detach", "--no-deps", "--no-recreate", "worker")
    wait_until(lambda: deployment.is_healthy("worker", 2), "there are two workers again")


def test_a_database_that_restarts_loses_nothing(deployment: Deployment) -> None:
    workers = deployment.containers("worker")
    deployment.start_orders("restart", 200)
    deployment.compose("restart", "--timeout", "20", "postgres")
    wait_until(lambda: deployment.is_healthy("postgres", 1), "PostgreSQL is back")
    wait_until(lambda: ended(deployment, "restart") == 200, "all orders are done")
    check_charges(deployment, "restart", 200)
    assert set(deployment.containers("worker")) == set(workers), "they came back by themselves"


def test_workers_scale(deployment: Deployment) -> None:
    deployment.compose(
        "up", "--detach", "--no-deps", "--no-recreate", "--scale", "worker=4", "worker"
    )
    wait_until(lambda: deployment.is_healthy("worker", 4), "four workers are healthy")
    deployment.start_orders("scale", 400)
    wait_until(lambda: ended(deployment, "scale") == 400, "all orders are done")
    busy = deployment.sql(
        "select count(distinct worker_no) from grctl.events join grctl.runs using (run_id) "
        "where wf_id like 'scale-%'"
    )
    assert busy == "4"
    deployment.compose(
        "up", "--detach", "--no-deps", "--no-recreate", "--scale", "worker=2", "worker"
    )
    wait_until(lambda: len(deployment.containers("worker")) == 2, "two are left")


def test_a_rolling_update_drains_and_loses_nothing(deployment: Deployment) -> None:
    old = deployment.containers("worker")
    lost = deployment.sql("select count(*) from grctl.workers where end_reason = 'lost'")
    docker("tag", "grctl-example:first", "grctl-example:second")
    deployment.environ["GRCTL_IMAGE"] = "grctl-example:second"
    for n, each in enumerate(old):
        deployment.start_orders(f"roll{n}", 100)
        docker("stop", "--timeout", "40", each)
        assert deployment.state(each)["ExitCode"] == 0, "it drained"
        docker("rm", each)
        deployment.compose(
            "up", "--detach", "--no-deps", "--no-recreate", "--scale", "worker=2", "worker"
        )
        wait_until(lambda: deployment.is_healthy("worker", 2), "the new one is healthy")
    for n in range(len(old)):
        wait_until(lambda n=n: ended(deployment, f"roll{n}") == 100, "all orders are done")
        check_charges(deployment, f"roll{n}", 100)
    assert deployment.sql("select count(*) from grctl.workers where end_reason = 'lost'") == lost
    images = {
        docker("inspect", "-f", "{{.Config.Image}}", each).strip()
        for each in deployment.containers("worker")
    }
    assert images == {"grctl-example:second"}


def test_the_dashboard_answers_whoever_has_the_token(deployment: Deployment) -> None:
    (dashboard,) = deployment.containers("dashboard")
    ask = (
        "import sys, urllib.request\n"
        "answer = urllib.request.urlopen(sys.argv[1])\n"
        "print(answer.status, answer.url)\n"
    )
    home = "http://127.0.0.1:8233"
    healthy = docker("exec", dashboard, "python", "-c", ask, f"{home}/healthz")
    assert healthy.split() == ["200", f"{home}/healthz"]
    status, url = docker("exec", dashboard, "python", "-c", ask, f"{home}/runs").split()
    assert (status, url.partition("?")[0]) == ("200", f"{home}/login")
