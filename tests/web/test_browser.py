"""The dashboard in a real Chromium: what people do, by mouse, keyboard, and on a phone."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from grctl.postgres.retention import delete
from grctl.web.serve import beside
from tests.support import wait_until
from tests.support.proxy import proxied

axe = pytest.importorskip("axe_playwright_python.base", reason="needs axe-playwright-python")

GIVEN = {"items": ["book"], "pause": 0, "weight": 0}


async def status_of(database, wf_id: str) -> str | None:
    return await database.fetchval("select status from grctl.runs where wf_id = $1", wf_id)


async def audited(database) -> list[tuple[str, str]]:
    rows = await database.fetch("select action, outcome from grctl.audit order by audit_no")
    return [tuple(row) for row in rows]


async def waiting(database, wf_id: str, status: str = "waiting") -> None:
    async def is_so():
        return await status_of(database, wf_id) == status

    await wait_until(is_so, f"{wf_id} is {status}", timeout=30)


async def retried(page, database, run_id, wf_id: str) -> None:
    """By the dialog of its page; it fails again."""
    await waiting(database, wf_id, "failed")
    await page.goto(f"/runs/{run_id}")
    await page.get_by_role("link", name="Retry from the failed step").click()
    dialog = page.get_by_role("dialog", name="Retry from the failed step")
    assert await status_of(database, wf_id) == "failed"
    await dialog.get_by_role("button", name="Retry").click()
    await page.get_by_text("The run is open again, at the step that failed.").wait_for()
    await waiting(database, wf_id, "failed")


async def test_start_send_and_see_the_end_without_a_reload(page, worker, database):
    await page.goto("/start")
    await page.get_by_label("Type").select_option("shop.courier")
    await page.get_by_label("Workflow id (").fill("c-1")
    await page.get_by_label("Input").fill('{"order": "7"}')
    await page.get_by_role("button", name="Start", exact=True).click()
    await page.get_by_role("status", name="Status of the run").filter(has_text="waiting").wait_for()
    await page.evaluate("window.same = true")
    await page.get_by_role("link", name="Send an event").click()
    dialog = page.get_by_role("dialog", name="Send an event")
    await dialog.get_by_label("Payload").fill('{"at": "the door"}')
    await page.keyboard.press("Escape")
    await dialog.wait_for(state="hidden")
    run_id = await database.fetchval("select run_id from grctl.runs")
    assert await status_of(database, "c-1") == "waiting"
    other = await page.context.new_page()
    await other.goto(f"/runs/{run_id}/send")
    await other.get_by_label("Payload").fill('{"at": "the door"}')
    await other.get_by_role("button", name="Send", exact=True).click()
    await other.get_by_text("The event is in the run's inbox.").wait_for()
    ended = page.get_by_role("status", name="Status of the run").filter(has_text="completed")
    await ended.wait_for()
    assert await page.evaluate("window.same")
    assert await audited(database) == [("start", "done"), ("send", "done")]
    await page.locator("#result").get_by_text("7 at the door").wait_for()


async def test_an_act_is_asked_for_in_a_dialog_and_done(page, client, worker, database):
    handle = await client.start_workflow("shop.courier", "c-1", {"order": "7"})
    await waiting(database, "c-1")
    await page.goto(f"/runs/{handle.run_id}")
    await page.get_by_role("link", name="Cancel the run").click()
    dialog = page.get_by_role("dialog", name="Cancel the run")
    await dialog.get_by_label("Why").fill("ordered twice")
    assert await status_of(database, "c-1") == "waiting"
    await dialog.get_by_role("button", name="Cancel the run").click()
    await page.get_by_text("The cancel is recorded.").wait_for()
    assert await status_of(database, "c-1") == "cancelled"
    assert await audited(database) == [("cancel", "done")]


async def test_a_query_is_asked_and_answered(page, client, worker, database):
    handle = await client.start_workflow("shop.parcels", "q-1", {**GIVEN, "order": "q-1"})
    await waiting(database, "q-1")
    await page.goto(f"/runs/{handle.run_id}")
    await page.get_by_role("link", name="Ask a query").click()
    dialog = page.get_by_role("dialog", name="Ask a query")
    await dialog.get_by_label("Name").select_option("weights")
    await dialog.get_by_label("Arguments").fill("[100]")
    assert await audited(database) == []
    await dialog.get_by_role("button", name="Ask").click()
    await page.locator("pre.json").filter(has_text='"grams": 280').wait_for()
    assert await audited(database) == [("query", "done")]
    await page.get_by_role("link", name="Back to the run").click()
    await page.locator("#acts").get_by_role("cell", name="query").wait_for()


async def test_an_update_is_sent_and_answered(page, client, worker, database):
    handle = await client.start_workflow("shop.parcels", "u-1", {**GIVEN, "order": "u-1"})
    await waiting(database, "u-1")
    await page.goto(f"/runs/{handle.run_id}")
    await page.get_by_role("link", name="Send an update").click()
    dialog = page.get_by_role("dialog", name="Send an update")
    await dialog.get_by_label("Payload").fill('"Canal 3"')
    assert await audited(database) == []
    await dialog.get_by_role("button", name="Send").click()
    await page.get_by_text("now to Canal 3").wait_for()
    assert await audited(database) == [("update", "done")]


async def test_a_failed_run_is_retried_from_its_step(page, client, worker, database):
    given = {**GIVEN, "order": "f-1", "address": "nowhere"}
    handle = await client.start_workflow("shop.parcels", "f-1", given)
    await retried(page, database, handle.run_id, "f-1")
    kinds = [row["kind"] for row in await database.fetch("select kind from grctl.events")]
    assert kinds.count("run.retried") == 1
    assert await audited(database) == [("retry", "done")]


async def test_a_run_is_terminated_and_it_is_recorded(page, client, worker, database):
    handle = await client.start_workflow("shop.courier", "c-1", {"order": "7"})
    await waiting(database, "c-1")
    await page.goto(f"/runs/{handle.run_id}")
    await page.get_by_role("link", name="Terminate the run").click()
    dialog = page.get_by_role("dialog", name="Terminate the run")
    await dialog.get_by_label("Why").fill("a test order")
    await dialog.get_by_role("button", name="Terminate the run").click()
    await page.get_by_text("The run is terminated.").wait_for()
    assert await status_of(database, "c-1") == "terminated"
    assert await audited(database) == [("terminate", "done")]


async def test_all_can_be_reached_by_the_keyboard(page, client, worker, database):
    handle = await client.start_workflow("shop.courier", "c-1", {"order": "7"})
    await waiting(database, "c-1")
    await page.goto(f"/runs/{handle.run_id}")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.textContent") == "To the content"
    reached = set()
    for _ in range(60):
        await page.keyboard.press("Tab")
        reached.add(await page.evaluate("document.activeElement.textContent.trim().slice(0, 20)"))
    assert {"Overview", "Runs", "Send an event", "Terminate the run", "Pause"} <= reached
    summary = page.locator("details.line > summary").nth(1)
    await summary.focus()
    await page.keyboard.press("Enter")
    assert await page.locator("details.line[open]").count() == 1


@pytest.mark.parametrize("look", ["light", "dark"])
async def test_pages_are_accessible_and_fit_a_phone(browser, url, client, worker, database, look):
    good = {"order": "o-1", "items": ["book"], "pause": 0, "weight": 0}
    handle = await client.start_workflow("shop.parcels", "o-1", good)
    failed = await client.start_workflow("shop.parcels", "o-2", {**good, "address": "nowhere"})
    await waiting(database, "o-1")
    context = await browser.new_context(
        base_url=url, color_scheme=look, viewport={"width": 360, "height": 740}
    )
    page = await context.new_page()
    await retried(page, database, failed.run_id, "o-2")  # two attempts, and something done here
    source = axe.AXE_FILE_PATH.read_text("utf-8")
    # The dark pages differ from the light ones in nothing but colours.
    rules = {"runOnly": ["color-contrast"]} if look == "dark" else {}
    for path in (
        "/", "/runs", f"/runs/{handle.run_id}", f"/runs/{failed.run_id}", "/workers", "/types",
        "/start", f"/runs/{handle.run_id}/send", f"/runs/{failed.run_id}/retry",
        f"/runs/{failed.run_id}/events/1", f"/runs/{handle.run_id}/query",
    ):  # fmt: skip
        await page.goto(path)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 360, path
        await page.evaluate(source)
        found = await page.evaluate(
            "rules => axe.run({resultTypes: ['violations'], ...rules})", rules
        )
        told = [(v["id"], v["nodes"][0]["html"][:160]) for v in found["violations"]]
        assert told == [], path
    await context.close()


async def test_light_and_dark_can_be_chosen_and_stay_so(page):
    await page.goto("/")
    await page.get_by_role("button", name="Colours: Auto").click()
    await page.get_by_role("button", name="Colours: Light").click()
    await page.goto("/runs")
    assert await page.locator("html").get_attribute("data-theme") == "dark"
    color = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert color == "rgb(19, 21, 25)"


async def test_the_pages_work_without_scripts(browser, url, client, worker, database):
    handle = await client.start_workflow("shop.courier", "c-1", {"order": "7"})
    await waiting(database, "c-1")
    context = await browser.new_context(base_url=url, java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"/runs/{handle.run_id}")
    await page.get_by_role("link", name="Terminate the run").click()
    await page.get_by_role("button", name="Terminate the run").click()
    await page.get_by_text("The run is terminated.").wait_for()
    await context.close()
    assert await status_of(database, "c-1") == "terminated"


async def test_a_run_that_is_deleted_while_shown_is_said_to_be(page, client, worker, database):
    handle = await client.start_workflow("shop.courier", "gone", {"order": "7"})
    await waiting(database, "gone")
    await page.goto(f"/runs/{handle.run_id}")
    await handle.terminate()
    await page.get_by_role("status", name="Status of the run").filter(has_text="term").wait_for()
    row = await database.fetch("select run_id, ended_at from grctl.runs")
    await delete(client.database, [row[0]["run_id"]], [row[0]["ended_at"]])
    told = page.locator("#live-words")
    await told.filter(has_text="The run is no longer there").wait_for()
    assert await page.locator("#wf-id").text_content() == "gone"
    assert not await page.get_by_role("button", name="Pause").is_visible()


async def test_a_page_comes_by_itself_once_the_database_is_back(browser, settings, database):
    async with proxied(database.dsn) as proxy, AsyncExitStack() as stack:
        more = {"database_url": proxy.url, "dashboard_port": 0}
        address = stack.enter_context(beside(settings.model_copy(update=more)))
        context = await browser.new_context(base_url=address)
        stack.push_async_callback(context.close)
        page = await context.new_page()
        page.set_default_timeout(30_000)
        await page.goto("/workers")
        proxy.refuses = True
        proxy.cut_all()
        answer = await page.goto("/runs")
        assert answer.status == 503
        await page.get_by_role("heading", name="The database does not answer").wait_for()
        proxy.refuses = False
        await page.get_by_role("heading", name="Runs").wait_for()


async def test_nobody_sees_anything_before_they_have_signed_in(browser, settings):
    guarded = settings.model_copy(update={"dashboard_port": 0, "dashboard_token": "open sesame"})
    with beside(guarded) as address:
        context = await browser.new_context(base_url=address)
        page = await context.new_page()
        await page.goto("/workers")
        await page.get_by_label("The dashboard's token").fill("wrong")
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_role("alert").wait_for()
        await page.evaluate(axe.AXE_FILE_PATH.read_text("utf-8"))
        found = await page.evaluate("axe.run({resultTypes: ['violations']})")
        assert [violation["id"] for violation in found["violations"]] == []
        await page.get_by_label("The dashboard's token").fill("open sesame")
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_role("heading", name="Workers", level=1).wait_for()
        await page.get_by_role("button", name="Sign out").click()
        await page.get_by_role("heading", name="Sign in").wait_for()
        await page.goto("/workers")
        await page.get_by_role("heading", name="Sign in").wait_for()
        await context.close()
