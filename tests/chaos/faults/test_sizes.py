"""What is as large as it may be: 64 MiB of one value, a history of 100,000 rows, 1,000 branches;
each with a SIGKILL before its end, so that all of it is read again."""

from __future__ import annotations

import resource
from typing import Any

import pytest

from grctl.client import Client, Connection
from grctl.errors import StepFailed
from grctl.settings import load_settings
from tests.support import Database, wait_until
from tests.support.ledger import Ledger

MIB = 1 << 20
QUOTES = 2
"""The JSON text of a string has two more bytes than the string."""


async def test_what_is_too_large_is_refused_where_it_is_given(client: Client, launch: Any) -> None:
    await launch()
    limit = 2 * MIB
    with pytest.raises(ValueError, match="2097152"):
        await client.start_workflow("faults.heavy", "input", {"text": "x" * limit, "size": 1})
    grown = await client.start_workflow("faults.heavy", "result", {"text": "x", "size": limit})
    with pytest.raises(StepFailed, match="2097152"):
        await grown.result(timeout=30)
    handle = await client.start_workflow("faults.heavy", "event", {"text": "x", "size": 10})
    with pytest.raises(ValueError, match="2097152"):
        await handle.send("more", "x" * limit)
    await handle.terminate()


@pytest.mark.chaos
async def test_values_of_64_mib_go_everywhere_a_value_goes(
    database: Database, ledger: Ledger, launch: Any
) -> None:
    limit = 64 * MIB
    first = await launch(max_payload_bytes=limit, lease_seconds=15)
    settings = load_settings(database_url=database.dsn, max_payload_bytes=limit, poll_seconds=0.5)
    async with await Connection.connect(settings=settings) as connection:
        text = "x" * (limit - QUOTES - 32)  # input is an object with a second field
        handle = await Client(connection).start_workflow(
            "faults.heavy", "a", {"text": text, "size": len(text)}
        )
        await handle.send("more", text)
        await wait_until(lambda: ledger.count("start", "a", "gate"), "all was sent", timeout=240)
        first.kill()
        ledger.open_gate("a")
        await launch(max_payload_bytes=limit, lease_seconds=15)
        assert await handle.result(timeout=240) == text
    assert await database.fetchval("select max(epoch) from grctl.runs") >= 2


@pytest.mark.chaos
@pytest.mark.parametrize(("rounds", "width"), [(100, 1000), (1, 1000)])
async def test_many_tasks_in_one_step_are_replayed_and_not_called_again(
    database: Database,
    client: Client,
    ledger: Ledger,
    launch: Any,
    capsys: pytest.CaptureFixture[str],
    rounds: int,
    width: int,
) -> None:
    count = rounds * width
    first = await launch(lease_seconds=5)
    handle = await client.start_workflow("faults.many", "a", {"rounds": rounds, "width": width})
    await wait_until(lambda: ledger.count("start", "a", "gate"), "all are done", timeout=300)
    first.kill()
    ledger.open_gate("a")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    second = await launch(lease_seconds=5)

    assert await handle.result(timeout=300) == count * (count - 1)

    second.terminate()
    assert await second.wait() == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    bodies = [each.key for each in ledger.entries("start", "a") if each.key != "gate"]
    assert len(bodies) == len(set(bodies)) == count
    assert await database.fetchval("select count(*) from grctl.events") == count + 2
    with capsys.disabled():
        cpu = after.ru_utime - before.ru_utime
        print(f"\n{count:,} tasks replayed: {cpu:.1f} s of CPU, {after.ru_maxrss >> 10} MiB")
