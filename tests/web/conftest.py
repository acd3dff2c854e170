"""A dashboard on the test's database: asked as an ASGI application, or by a browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from grctl.client import Client, Connection
from grctl.settings import Settings, load_settings
from grctl.web.app import make_app
from grctl.web.serve import beside
from grctl.worker import Worker
from tests.conftest import fresh_database
from tests.support import Database
from tests.web.chromium import ARGUMENTS, executable
from tests.workflows.parcels import ALL, busy

HERE = Path(__file__).parent
HOST = "http://localhost:8233"
TIMEOUT = 30_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these share an event loop, and so a browser can serve all of them."""
    for item in items:
        if HERE in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(loop_scope="session")
async def database(server_url: str, template: str) -> AsyncIterator[Database]:
    """A migrated database of this test alone, in the loop that all share."""
    async for each in fresh_database(server_url, template):
        yield each


@pytest_asyncio.fixture(loop_scope="session")
async def connection(settings: Settings) -> AsyncIterator[Connection]:
    async with await Connection.connect(settings=settings) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def client(connection: Connection) -> Client:
    return Client(connection)


@pytest_asyncio.fixture(loop_scope="session")
async def worker(settings: Settings) -> AsyncIterator[Worker]:
    """Serves the parcels."""
    busy.clear()
    async with await Connection.connect(settings=settings) as own:
        made = Worker(ALL, own)
        working = asyncio.create_task(made.start())
        await made.wait_until_ready()
        yield made
        await made.stop(shutdown_timeout=0)
        await working


class Browser(httpx.AsyncClient):
    """A browser without a screen: it has cookies, and sends the Origin with its forms."""

    async def submit(self, path: str, at: str | None = None, **fields: str) -> httpx.Response:
        """Load the page of a form, and send it back with these fields."""
        page = await self.get(at or path)
        found = re.search(r'<form class="card.*?name="csrf" value="(\w+)"', page.text, re.DOTALL)
        assert found, page.text
        return await self.post(
            path, data={"csrf": found[1], **fields}, headers={"origin": str(self.base_url)}
        )


@pytest_asyncio.fixture(loop_scope="session")
async def visit(client: Client, settings: Settings) -> AsyncIterator[Callable[..., Browser]]:
    """``visit(peer=…, host=…, dashboard_token=…)``: a browser at a dashboard with such settings."""
    async with AsyncExitStack() as stack:
        made: list[Browser] = []

        def go(peer: str = "127.0.0.1", host: str = HOST, **more: Any) -> Browser:
            url = settings.require_database_url()
            app = make_app(client, load_settings(database_url=url, **more))
            transport = httpx.ASGITransport(app=app, client=(peer, 40_000))
            made.append(Browser(transport=transport, base_url=host))
            stack.push_async_callback(made[-1].aclose)
            return made[-1]

        yield go


# What a page must not do is noted from its first script on.
WATCH = """
    window.violations = [];
    document.addEventListener("securitypolicyviolation",
        event => window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));
"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Any]:
    api = pytest.importorskip("playwright.async_api", reason="needs playwright")
    if executable() is None:
        pytest.skip("no Chromium: install the package chromium, or set CHROMIUM")
    async with api.async_playwright() as playwright:
        made = await playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        yield made
        await made.close()


@pytest_asyncio.fixture(loop_scope="session")
async def url(settings: Settings) -> AsyncIterator[str]:
    with beside(settings.model_copy(update={"dashboard_port": 0})) as address:
        yield address


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Any, url: str) -> AsyncIterator[Any]:
    """A page at which no script may fail, no dialog open, and nothing come from elsewhere."""
    context = await browser.new_context(base_url=url)
    await context.add_init_script(WATCH)
    made = await context.new_page()
    made.set_default_timeout(TIMEOUT)
    problems: list[str] = []

    async def dismiss(dialog: Any) -> None:
        problems.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    made.on("dialog", dismiss)
    made.on("pageerror", lambda error: problems.append(str(error)))
    made.on("console", lambda m: problems.append(m.text) if "Content Security" in m.text else None)
    made.on("request", lambda r: None if r.url.startswith(url) else problems.append(r.url))
    yield made
    await context.close()
    assert problems == []
