"""A dashboard on the test's database: asked as an ASGI application, or by a browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest_asyncio

from grctl.client import Client, Connection
from grctl.settings import Settings, load_settings
from grctl.web.app import make_app
from grctl.worker import Worker
from tests.workflows.parcels import ALL

HOST = "http://localhost:8233"


@pytest_asyncio.fixture
async def connection(settings: Settings) -> AsyncIterator[Connection]:
    async with await Connection.connect(settings=settings) as made:
        yield made


@pytest_asyncio.fixture
async def client(connection: Connection) -> Client:
    return Client(connection)


@pytest_asyncio.fixture
async def worker(settings: Settings) -> AsyncIterator[Worker]:
    """Serves the parcels."""
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


@pytest_asyncio.fixture
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
