"""What users test their workflows with."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from grctl.errors import ConfigurationError, WorkflowError, WorkflowNotFoundError
from grctl.models import Directive
from grctl.testing import Sandbox
from grctl.worker import Context, task
from grctl.workflow import Workflow
from tests.support import wait_until

bill = Workflow("sandboxes.bill")


@task
async def remind(customer: str) -> str:
    return f"dear {customer}"


@bill.start()
async def send(ctx: Context, customer: str) -> Directive:
    ctx.store.put("customer", customer)
    ctx.store.put("sent", await ctx.now())
    return ctx.next.wait(timeout=timedelta(days=30), on_timeout=overdue)


@bill.event()
async def paid(ctx: Context) -> Directive:
    return ctx.next.complete("paid")


@bill.step()
async def overdue(ctx: Context) -> Directive:
    ctx.store.put("letter", await remind(await ctx.store.get("customer")))
    return ctx.next.step(give_up, delay=timedelta(days=60))


@bill.step()
async def give_up(ctx: Context) -> Directive:
    days = (await ctx.now() - await ctx.store.get("sent", datetime)).days
    return ctx.next.complete([await ctx.store.get("letter"), days])


async def test_a_month_passes_at_once(server_url: str) -> None:
    async with Sandbox(bill, database_url=server_url) as sandbox:
        handle = await sandbox.client.start_workflow("sandboxes.bill", "7", "ada")
        await sandbox.until_waiting("7")
        await sandbox.advance(timedelta(days=29))
        await sandbox.until_waiting("7")
        assert not handle.future.done()
        await sandbox.advance(timedelta(days=1))

        async def is_delayed() -> bool:
            return (await sandbox.client.describe("7")).status == "delayed"

        await wait_until(is_delayed, "the run is delayed")
        await sandbox.advance(timedelta(days=60))
        assert await handle.result(timeout=30) == ["dear ada", 90]


async def test_the_worker_lives_through_a_jump_of_the_clock(server_url: str) -> None:
    async with Sandbox(bill, database_url=server_url) as sandbox:
        first = await sandbox.client.start_workflow("sandboxes.bill", "1", "ada")
        await sandbox.until_waiting("1")
        await sandbox.advance(timedelta(days=3))
        await first.send("paid")
        assert await first.result(timeout=30) == "paid"
        second = await sandbox.client.start_workflow("sandboxes.bill", "2", "ada")
        await sandbox.until_waiting("2")
        await second.send("paid")
        assert await second.result(timeout=30) == "paid"
        workers = await sandbox.client.database.fetch("leases", "list", True)  # noqa: FBT003
        assert [row["state"] for row in workers] == ["up"]


async def test_sandboxes_know_nothing_of_each_other(server_url: str) -> None:
    async with (
        Sandbox(bill, database_url=server_url) as one,
        Sandbox(bill, database_url=server_url) as other,
    ):
        await one.client.start_workflow("sandboxes.bill", "7", "ada")
        await one.until_waiting("7")
        with pytest.raises(WorkflowNotFoundError):
            await other.client.describe("7")


async def test_whoever_waits_in_vain_is_told_what_the_run_does_instead(server_url: str) -> None:
    async with Sandbox(bill, database_url=server_url) as sandbox:
        await sandbox.client.start_workflow("sandboxes.bill", "7", "ada")
        await sandbox.until_waiting("7")
        with pytest.raises(TimeoutError, match=r"not parked by step 'overdue' within 0\.1 s"):
            await sandbox.until_waiting("7", step="overdue", timeout=0.1)

        await sandbox.client.start_workflow("sandboxes.bill", "8", {"client": "ada"})
        with pytest.raises(
            WorkflowError, match=r"'8' waits for nothing: it has ended .*'customer'"
        ):
            await sandbox.until_waiting("8")


async def test_a_clock_is_not_turned_back(server_url: str) -> None:
    async with Sandbox(bill, database_url=server_url) as sandbox:
        with pytest.raises(ValueError, match="turned back"):
            await sandbox.advance(timedelta(days=-1))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:hidden@127.0.0.1:1/app", r"create .* on postgresql://u:\*\*\*\*@127"),
        ("mysql://u:hidden@db/app", "expected a PostgreSQL URL"),
    ],
)
async def test_a_server_that_cannot_be_reached_is_a_configuration_error(
    url: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said) as told:
        async with Sandbox(bill, database_url=url):
            raise AssertionError
    assert "hidden" not in str(told.value)


async def test_a_sandbox_listens_on_its_own_database(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRCTL_LISTEN_URL", server_url)
    async with Sandbox(bill, database_url=server_url) as sandbox:
        assert sandbox.client.connection.settings.listen_url is None


async def test_without_a_url_the_embedded_server_is_used() -> None:
    async with Sandbox(bill, concurrency=1) as sandbox:
        handle = await sandbox.client.start_workflow("sandboxes.bill", "7", "ada")
        await sandbox.until_waiting("7")
        await handle.send("paid")
        assert await handle.result(timeout=30) == "paid"
