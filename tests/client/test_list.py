"""Pages of runs, newest first."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest

from grctl.client.page import RunPage
from grctl.models import RunStatus


@pytest.fixture
async def runs(client, worker) -> list[str]:
    """Ids of some runs, newest first: shops that ended, and parked ones that wait or not."""
    for number in range(3):
        await client.run_workflow("shop", f"shop-{number}", {"item": "x"})
    for number in range(2):
        await client.run_workflow("parked", f"parked_{number}", {"timeout_ms": 1})
    return ["parked_1", "parked_0", "shop-2", "shop-1", "shop-0"]


def ids(page: RunPage) -> list[str]:
    return [info.wf_id for info in page]


async def test_all_runs_newest_first(client, runs):
    page = await client.list_workflows()
    assert ids(page) == runs
    assert page.next_cursor is None
    assert {info.status for info in page} == {RunStatus.COMPLETED}
    described = await client.describe("shop-1")
    left_out = {"input": None, "result": None, "error": None}
    for name in described.__dataclass_fields__:
        listed = getattr(page[3], name)
        assert listed == left_out.get(name, getattr(described, name)), name


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6])
async def test_pages_follow_each_other_without_gap_or_overlap(client, runs, limit):
    seen: list[str] = []
    cursor = None
    while True:
        page = await client.list_workflows(limit=limit, cursor=cursor)
        assert len(page) <= limit
        seen += ids(page)
        cursor = page.next_cursor
        if cursor is None:
            break
        await client.start_workflow("shop", f"new-{len(seen)}", {"item": "x"})
    assert seen == runs


async def test_filters_choose(client, runs):
    handle = await client.start_workflow("parked", "parked-9")
    await handle.cancel()
    await asyncio.gather(handle.result(timeout=10), return_exceptions=True)  # its step may run yet
    assert ids(await client.list_workflows(type="shop")) == runs[2:]
    assert ids(await client.list_workflows(type="nothing")) == []
    assert ids(await client.list_workflows(status="cancelled")) == ["parked-9"]
    assert ids(await client.list_workflows(status=RunStatus.COMPLETED, type="parked")) == runs[:2]
    several = await client.list_workflows(status=["cancelled", RunStatus.COMPLETED])
    assert ids(several) == ["parked-9", *runs]
    assert ids(await client.list_workflows(status=[])) == []
    # The wildcard of LIKE is an ordinary character of an id.
    assert ids(await client.list_workflows(id_prefix="parked_")) == runs[:2]
    assert ids(await client.list_workflows(id_prefix="%")) == []


async def test_since_counts_from_the_start_of_a_run(client, runs):
    third = (await client.describe(runs[2])).created_at
    assert ids(await client.list_workflows(since=third)) == runs[:3]
    assert ids(await client.list_workflows(since=datetime.now(UTC) + timedelta(hours=1))) == []
    for ever in (datetime(1900, 1, 1, tzinfo=UTC), datetime.min.replace(tzinfo=UTC)):
        assert ids(await client.list_workflows(since=ever)) == runs


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"status": "happy"}, "the statuses are scheduled, running, waiting"),
        ({"status": ["failed", ""]}, "the statuses are"),
        ({"limit": 0}, "limit must be a whole number from 1 to 1000, not 0"),
        ({"limit": 1001}, "not 1001"),
        ({"cursor": "next"}, "cursor must be the next_cursor of a page"),
        ({"since": datetime(2024, 5, 1)}, "since must have a time zone"),  # noqa: DTZ001
        ({"since": date(2024, 5, 1)}, "since must have a time zone and be a datetime"),
        ({"since": "2024-05-01"}, "since must have a time zone and be a datetime"),
        ({"status": 5}, "5 is not a valid RunStatus: the statuses are"),
        ({"type": ["shop"]}, "type must be a string .* not \\['shop'"),
        ({"type": "a\0b"}, "type must be a string without NUL"),
        ({"id_prefix": 5}, "id_prefix must be a string"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused(client, asked, message):
    with pytest.raises(ValueError, match=message):
        await client.list_workflows(**asked)


async def test_a_value_is_never_read_as_sql(client, runs):
    for text in ("'; drop table grctl.runs; --", "$1", "%s", ":x"):
        assert ids(await client.list_workflows(type=text, id_prefix=text)) == []
    assert len(await client.list_workflows()) == 5
