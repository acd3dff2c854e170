"""The dashboard in a real Chromium: what people do, and what must not run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from grctl.web.serve import beside
from tests.support import wait_until
from tests.web.chromium import ARGUMENTS, executable

playwright_api = pytest.importorskip("playwright.async_api", reason="needs playwright")
axe = pytest.importorskip("axe_playwright_python.base", reason="needs axe-playwright-python")

pytestmark = pytest.mark.skipif(
    executable() is None, reason="no Chromium: install the package chromium, or set CHROMIUM"
)

TIMEOUT = 30_000
XSS = (
    "<script>window.hit=1</script>",
    "\"><img src=x onerror='window.hit=1'>",
    "'-window.hit++-'",
    "</title></style></textarea><svg onload=window.hit=1>",
    "javascript:window.hit=1",
    "{{7*7}}<a href='javascript:window.hit=1'>x</a>",
)


@pytest_asyncio.fixture
async def browser() -> AsyncIterator[object]:
    async with playwright_api.async_playwright() as playwright:
        made = await playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        yield made
        await made.close()


@pytest_asyncio.fixture
async def url(settings) -> AsyncIterator[str]:
    with beside(settings.model_copy(update={"dashboard_port": 0})) as address:
        yield address


@pytest_asyncio.fixture
async def page(browser, url) -> AsyncIterator[object]:
    """A page at which no script may fail, and nothing may come from elsewhere."""
    context = await browser.new_context(base_url=url)
    made = await context.new_page()
    made.set_default_timeout(TIMEOUT)
    problems: list[str] = []
    made.on("pageerror", lambda error: problems.append(str(error)))
    made.on("console", lambda m: problems.append(m.text) if "Content Security" in m.text else None)
    made.on("request", lambda r: None if r.url.startswith(url) else problems.append(r.url))
    yield made
    await context.close()
    assert problems == []


async def status_of(database, wf_id: str) -> str | None:
    return await database.fetchval("select status from grctl.runs where wf_id = $1", wf_id)


async def waiting(database, wf_id: str) -> None:
    async def waits():
        return await status_of(database, wf_id) == "waiting"

    await wait_until(waits, f"{wf_id} waits", timeout=30)


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


@pytest.mark.parametrize("number", range(len(XSS)))
async def test_nothing_that_users_name_runs_as_a_script(page, client, worker, database, number):
    bad = XSS[number]
    handle = await client.start_workflow("shop.courier", bad, {"order": bad})
    await waiting(database, bad)
    await database.execute(
        """
        insert into grctl.inbox (run_id, no, kind, name, payload)
        select run_id, 99, 'event', $1, to_json($1::text) from grctl.runs
        """,
        bad,
    )
    error = json.dumps({"step": bad, "error": {"type": bad, "message": bad, "stack_trace": bad}})
    await database.execute(
        """
        update grctl.workflow_types
        set step_names = array[$1], event_names = array[$1], query_names = array[$1],
            update_names = array[$1]
        """,
        bad,
    )
    await database.execute("update grctl.workers set worker_id = $1, wf_types = array[$1]", bad)
    await handle.terminate(bad)
    await database.execute(
        """
        update grctl.runs
        set status = 'failed', wf_type = $1::text, step_name = $1::text,
            error = $2::json, result = to_json($1::text)
        """,
        bad,
        error,
    )
    run = f"/runs/{handle.run_id}"
    for path in (
        "/", "/runs", "/runs?text=x", "/workers", "/types", run, f"{run}/query", f"{run}/retry",
        f"{run}/events/1", f"{run}/value?of=input", f"{run}/value?of=error",
        f"/start?copy={handle.run_id}",
    ):  # fmt: skip
        await page.goto(path)
        assert await page.evaluate("window.hit") is None, path
        links = await page.evaluate("[...document.links].map(l => l.protocol)")
        assert set(links) <= {"http:"}, path
    await page.goto(run)
    assert await page.locator("#wf-id").inner_text() == bad


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
        base_url=url, color_scheme=look, viewport={"width": 390, "height": 844}
    )
    page = await context.new_page()
    source = axe.AXE_FILE_PATH.read_text("utf-8")
    for path in (
        "/", "/runs", f"/runs/{handle.run_id}", f"/runs/{failed.run_id}", "/workers", "/types",
        "/start", f"/runs/{handle.run_id}/send",
    ):  # fmt: skip
        await page.goto(path)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390, path
        await page.evaluate(source)
        found = await page.evaluate("axe.run({resultTypes: ['violations']})")
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
