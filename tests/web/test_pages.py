"""Each page and each act, asked as a browser would; what is recorded of it."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
import pytest
import pytest_asyncio

from grctl.client import Client, Connection
from grctl.settings import load_settings
from grctl.web.app import make_app
from tests.support import wait_until
from tests.web.conftest import HOST, Browser

NOBODY = "01900000-0000-7000-8000-000000000000"
BIG = "12345678901234567890123"
GIVEN = {"order": "o-1", "items": ["book"], "pause": 0, "weight": 0}


@pytest_asyncio.fixture(loop_scope="session")
async def courier(client, worker, database):
    """A run that waits."""
    handle = await client.start_workflow("shop.courier", "c-1", {"order": "1"})

    async def waits():
        sql = "select status = 'waiting' from grctl.runs where run_id = $1"
        return await database.fetchval(sql, handle.run_id)

    await wait_until(waits, "it waits", timeout=30)
    return handle


async def test_the_pages_of_an_empty_database(visit):
    for path in ("/", "/?window=15m", "/runs", "/workers", "/types", "/start", "/login"):
        answer = await visit().get(path, follow_redirects=True)
        assert answer.status_code == 200, path


async def test_a_run_from_its_start_to_its_end(visit, worker, database):
    browser = visit()
    text = json.dumps(GIVEN)
    answer = await browser.submit("/start", type="shop.parcels", id="o-1", input=text)
    assert answer.status_code == 303
    page = answer.headers["location"].partition("?")[0]

    async def is_at(words):
        return words in (await browser.get(page)).text

    await wait_until(lambda: is_at("Send an event"), "it is there", timeout=30)
    await wait_until(lambda: is_at("o-1/courier"), "it has a child", timeout=30)
    child = await database.fetchval("select run_id from grctl.runs where wf_id = 'o-1/courier'")
    sent = await browser.submit(f"/runs/{child}/send", name="arrived", payload='{"at": "door"}')
    assert sent.headers["location"] == f"/runs/{child}?said=send"
    await wait_until(lambda: is_at(BIG), "its result is there, to the last digit", timeout=30)
    shown = (await browser.get(page)).text
    assert "book_carrier" in shown
    assert "3 attempts" in shown
    assert 'Last step</dt><dd>delivered <span class="note">no. 3' in shown
    assert (await browser.get(f"{page}/value?of=result")).text.endswith(f'"number":{BIG}}}')
    acts = await database.fetch("select action, actor, outcome, run_id from grctl.audit order by 1")
    assert [tuple(act)[:3] for act in acts] == [
        ("send", "local", "done"),
        ("start", "local", "done"),
    ]
    assert str(acts[1]["run_id"]) in page


async def test_queries_and_updates_are_answered(visit, client, worker):
    handle = await client.start_workflow("shop.parcels", "o-1", GIVEN)
    browser, page = visit(), f"/runs/{handle.run_id}"

    async def answered():
        answer = await browser.submit(f"{page}/update", name="readdress", payload='"Canal 3"')
        return "now to Canal 3" in answer.text

    await wait_until(answered, "the update is answered", timeout=30)
    answer = await browser.submit(f"{page}/query", name="weights", payload="[1]")
    assert "&#34;grams&#34;: 280" in answer.text
    refused = await browser.submit(f"{page}/query", name="weights", payload="{}")
    assert refused.status_code == 409


@pytest.mark.parametrize(("how", "status"), [("cancel", "cancelled"), ("terminate", "terminated")])
async def test_a_run_can_be_ended_and_it_is_said_why(visit, courier, database, how, status):
    browser, page = visit(), f"/runs/{courier.run_id}"
    asked = await browser.get(f"{page}/{how}")
    assert asked.status_code == 200
    assert await database.fetchval("select status from grctl.runs") == "waiting"
    await browser.submit(f"{page}/{how}", reason="ordered twice")
    assert await database.fetchval("select status from grctl.runs") == status
    assert "ordered twice" in (await browser.get(page)).text
    again = await browser.submit(f"{page}/{how}")
    assert again.status_code == 409
    outcomes = await database.fetch("select outcome from grctl.audit order by audit_no")
    assert [row["outcome"].partition(":")[0] for row in outcomes] == ["done", "WorkflowError"]


async def test_a_failed_run_can_be_retried(visit, client, worker, database):
    handle = await client.start_workflow("shop.parcels", "o-1", {**GIVEN, "address": "nowhere"})

    async def has_failed():
        return await database.fetchval("select status = 'failed' from grctl.runs")

    await wait_until(has_failed, "it has failed", timeout=30)
    browser, page = visit(), f"/runs/{handle.run_id}"
    shown = (await browser.get(page)).text
    assert "AddressUnknownError" in shown
    assert "Traceback" in shown
    assert "After a repair" in shown
    assert "How it ended" not in shown
    assert "AddressUnknownError" in (await browser.get("/")).text
    answer = await browser.submit(f"{page}/retry")
    assert answer.status_code == 303
    kinds = await database.fetch("select kind from grctl.events")
    assert "run.retried" in {row["kind"] for row in kinds}


async def test_runs_that_timed_out_are_among_the_failures(visit, client, worker, database):
    await client.start_workflow(
        "shop.courier", "c-1", {"order": "1"}, timeout=timedelta(milliseconds=50)
    )
    await client.start_workflow("shop.parcels", "o-1", {**GIVEN, "items": 7})

    async def have_ended():
        sql = "select count(*) = 2 from grctl.runs where ended_at is not null"
        return await database.fetchval(sql)

    await wait_until(have_ended, "both have ended", timeout=30)
    shown = (await visit().get("/")).text
    assert '<a href="/runs?status=timed_out&amp;type=shop.courier">' in shown
    assert "timeout of the run" in shown
    assert '<a href="/runs?status=failed&amp;type=shop.parcels&amp;text=ValueError">' in shown


async def test_nothing_can_be_done_where_the_dashboard_only_shows(visit, courier):
    browser = visit(dashboard_read_only=True)
    assert "Cancel the run" not in (await browser.get(f"/runs/{courier.run_id}")).text
    for path in ("/start", f"/runs/{courier.run_id}/cancel"):
        assert (await browser.get(path)).status_code == 403


async def test_what_the_database_does_not_let_it_do_is_said(courier, database):
    role = await read_only_role(database)
    url = f"postgresql://{role}:x@{database.dsn.partition('@')[2]}"
    async with await Connection.connect(url) as connection:
        app = make_app(Client(connection), load_settings(database_url=url))
        transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 40_000))
        async with Browser(transport=transport, base_url=HOST) as browser:
            run = f"/runs/{courier.run_id}"
            assert (await browser.get(run)).status_code == 200
            for path in (f"{run}/send", f"{run}/cancel", "/start"):
                fields = {"name": "arrived", "type": "shop.courier"}
                answer = await browser.submit(path, **fields)
                assert answer.status_code == 409, path
                assert "The database refused it: permission denied for table" in answer.text
    await database.execute(f"drop owned by {role} cascade; drop role {role}")


async def read_only_role(database) -> str:
    """A role that may read everything, and write nothing."""
    role = f"grctl_test_{await database.fetchval('select pg_backend_pid()')}"
    await database.execute(
        f"create role {role} login password 'x'; grant usage on schema grctl to {role};"
        f"grant select on all tables in schema grctl to {role};"
        f"grant execute on all functions in schema grctl to {role}"
    )
    return role


@pytest.mark.parametrize("payload", ["{", "NaN", "[" * 100_000])
async def test_what_is_no_json_is_refused_with_a_reason(visit, courier, payload):
    answer = await visit().submit(f"/runs/{courier.run_id}/send", name="arrived", payload=payload)
    assert answer.status_code == 409
    assert 'role="alert"' in answer.text


@pytest.mark.parametrize(
    "path",
    [
        f"/runs/{NOBODY}", f"/runs/{NOBODY}/cancel", "/runs/nonsense", "/nothing",
        "/static/../app.py", "/static/%2e%2e/app.py",
    ],
)  # fmt: skip
async def test_what_is_not_there_is_not_found(visit, path):
    assert (await visit().get(path)).status_code == 404


@pytest.mark.parametrize(
    "query", ["since=soon", "status=odd", "before=x", "type=%00", "since=999999d"]
)
async def test_filters_that_cannot_be_are_refused(visit, query):
    assert (await visit().get(f"/runs?{query}")).status_code in (400, 422)


async def test_runs_are_found_by_all_filters(visit, client, courier):
    browser = visit()

    async def finds(query):
        return "c-1" in (await browser.get(f"/runs?{query}", follow_redirects=True)).text

    for query in (
        "type=shop.courier", "status=waiting", "since=1h", "id=c-1&type=shop.courier",
        "since=0001-01-01T00:00", "until=9999-12-31T23:59",
        "text=%22order", f"id={courier.run_id}", "status=waiting&status=failed",
    ):  # fmt: skip
        assert await finds(query), query
    for query in ("type=other", "status=failed", "until=1h", "id=c-2", "text=nowhere+to+be"):
        assert f"/runs/{courier.run_id}" not in (await browser.get(f"/runs?{query}")).text, query
