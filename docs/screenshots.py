"""Makes the pictures of the dashboard: `python docs/screenshots.py`, into docs/assets.

A PostgreSQL of its own, real runs, and a real Chromium (CHROMIUM names it; default: the one on the
PATH). Needs the extras `dev`, `web` and `test`.
"""
# ruff: noqa: INP001 - a script beside the pages, not a package

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, async_playwright

ROOT = Path(__file__).parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from grctl.client import Client, Connection  # noqa: E402 - found by the path above
from grctl.dev import EmbeddedPostgres  # noqa: E402
from grctl.postgres import migrations  # noqa: E402
from grctl.settings import load_settings  # noqa: E402
from grctl.web.serve import beside  # noqa: E402
from grctl.worker import Worker  # noqa: E402
from tests.support.waiting import wait_until  # noqa: E402
from tests.web.chromium import ARGUMENTS, executable  # noqa: E402
from tests.workflows.parcels import ALL  # noqa: E402

ASSETS = ROOT / "docs" / "assets"
DESK = {"width": 1280, "height": 820}
PHONE = {"width": 390, "height": 844}


async def main() -> None:
    """Runs first, then a picture of each page."""
    with tempfile.TemporaryDirectory(prefix="grctl-pictures-") as directory:
        os.chmod(directory, 0o711)  # noqa: PTH101, S103 - for root, the server has another account
        with EmbeddedPostgres(Path(directory) / "server", ephemeral=True) as server:
            await migrations.upgrade(server.dsn)
            settings = load_settings(database_url=server.dsn, dashboard_port=0)
            async with await Connection.connect(settings=settings) as connection:
                await _pictures(Client(connection), Worker(ALL, connection), settings)


async def _pictures(client: Client, worker: Worker, settings: Any) -> None:
    working = asyncio.create_task(worker.start())
    await worker.wait_until_ready()
    runs = await _runs(client)
    with beside(settings) as url:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS)
            for name, path, look in (
                ("overview", "/?window=15m", {}),
                ("overview-dark", "/?window=15m", {"color_scheme": "dark"}),
                ("runs", "/runs", {}),
                ("run", f"/runs/{runs['done']}", {}),
                ("run-waiting", f"/runs/{runs['waiting']}", {}),
                ("run-failed-dark", f"/runs/{runs['failed']}", {"color_scheme": "dark"}),
                ("run-folded", f"/runs/{runs['many']}", {}),
                ("run-phone", f"/runs/{runs['done']}", {"viewport": PHONE}),
                ("send", f"/runs/{runs['waiting']}/send", {}),
                ("cancel", f"/runs/{runs['waiting']}/cancel", {}),
                ("query", f"/runs/{runs['waiting']}/query", {}),
                ("retry", f"/runs/{runs['failed']}/retry", {}),
                ("event", f"/runs/{runs['failed']}/events/3", {}),
                ("start", "/start?type=shop.parcels", {}),
                ("workers", "/workers", {}),
                ("types", "/types", {}),
            ):
                await _picture(browser, f"{url}{path}", f"dashboard-{name}.png", look)
            with_token = settings.model_copy(update={"dashboard_token": "shown to nobody"})
            with beside(with_token) as guarded:
                await _picture(browser, f"{guarded}/login", "dashboard-login.png", {})
            await browser.close()
    await worker.stop(shutdown_timeout=0)
    await working


async def _runs(client: Client) -> dict[str, Any]:
    """One completed run, one that waits, one that failed, one of many tasks, and some more."""
    goods = {"items": ["book", "lamp", "chair"]}
    handles = {}
    for n in range(1, 25):
        order = f"order-{n}"
        address = "nowhere 5" if n % 7 == 0 else "Harbour Street 7"
        given = {"order": order, **goods, "address": address}
        handles[n] = await client.start_workflow("shop.parcels", order, given)
    many = {"order": "order-many", "items": [f"item {n}" for n in range(300)]}
    handle = await client.start_workflow("shop.parcels", "order-many", many)

    async def all_wait() -> bool:
        rows = await client.database.pool.fetch(
            "select 1 from grctl.runs where status in ('scheduled', 'running', 'delayed')"
        )
        return not rows

    await wait_until(all_wait, "all runs wait or have ended", timeout=60)
    for n in (1, 2, 3, 4, 5, 8, 9):
        courier = await client.get_workflow_handle(f"order-{n}/courier")
        await courier.send("arrived", {"at": "the door"})
        await handles[n].result(timeout=30)
    await handles[10].send("note", {"words": "mind the dog"})
    await wait_until(all_wait, "the note was taken", timeout=30)
    named = {"done": handles[3], "waiting": handles[10], "failed": handles[7], "many": handle}
    return {name: each.run_id for name, each in named.items()}


async def _picture(browser: Browser, url: str, name: str, look: dict[str, Any]) -> None:
    context = await browser.new_context(**{"viewport": DESK, "color_scheme": "light", **look})
    page = await context.new_page()
    answer = await page.goto(url)
    assert answer is not None
    assert answer.ok, f"{url}: {answer.status}"
    await page.wait_for_function("document.getElementById('theme')?.textContent !== 'Theme'")
    await page.screenshot(path=ASSETS / name)
    await context.close()


if __name__ == "__main__":
    if shutil.which("chromium") is None and "CHROMIUM" not in os.environ:
        sys.exit("there is no chromium on the PATH: name one in CHROMIUM")
    asyncio.run(main())
