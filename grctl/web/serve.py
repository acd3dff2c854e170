"""The dashboard as a server: on its own until a signal ends it, or beside a worker in a thread."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn

from grctl.client import Client, Connection
from grctl.errors import ConfigurationError
from grctl.log import get_logger
from grctl.postgres import migrations
from grctl.settings import Settings
from grctl.web.access import Access, access_of
from grctl.web.app import make_app

__all__ = ["beside", "serve"]

log = get_logger("grctl.dashboard")

STOP_SECONDS = 5
"""What is being answered gets to end, at a stop."""
KEEP_ALIVE_SECONDS = 30


async def serve(settings: Settings, ready: Callable[[str], None] = lambda _: None) -> None:
    """Serve until SIGTERM or SIGINT; ``ready`` is told the address once it listens.

    ConfigurationError if the settings would let in anybody, or the address cannot be had.
    """
    access = access_of(settings)
    listening = _listen(settings)
    with listening:
        await _serve(settings, access, listening, ready)


class _Server(uvicorn.Server):
    """Ends by SIGTERM and SIGINT with exit code 0; uvicorn's own raises them again at the end."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As long as the body runs. In a thread signals are the main thread's business."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


async def _serve(
    settings: Settings,
    access: Access,
    listening: socket.socket,
    ready: Callable[[str], None],
    server_is: Callable[[uvicorn.Server], None] = lambda _: None,
) -> None:
    async with await Connection.connect(settings=settings) as connection:
        async with connection.database.pool.acquire() as conn:
            await migrations.check(conn, settings.db_schema)
        port = listening.getsockname()[1]
        actual = settings.model_copy(update={"dashboard_port": port})
        app = make_app(Client(connection), actual, access)
        server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                # Who is behind a proxy is named by our own header, from a named peer.
                proxy_headers=False,
                timeout_graceful_shutdown=STOP_SECONDS,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )
        server_is(server)
        url = url_of(settings.dashboard_host, port)
        log.info("dashboard ready", url=url, way_in=access.way)
        ready(url)
        await server.serve(sockets=[listening])
        log.info("dashboard stopped")


@contextmanager
def beside(settings: Settings, *, any_port: bool = False) -> Iterator[str]:
    """Serve in a thread of its own as long as the body runs; gives the address.

    With ``any_port``, a port that is taken is no error: another one is served on.

    It has its own event loop and connections: a step that blocks the worker's loop does not block
    the dashboard, and a defect of the dashboard is no worker's.
    """
    access = access_of(settings)
    with _listen(settings, any_port=any_port) as listening:
        url = url_of(settings.dashboard_host, listening.getsockname()[1])
        thread = _Beside(settings, access, listening)
        thread.start()
        try:
            yield url
        finally:
            thread.stop()


class _Beside(threading.Thread):
    """The thread. It is a daemon: a process that has to end at once does not wait for it."""

    def __init__(self, settings: Settings, access: Access, listening: socket.socket) -> None:
        super().__init__(name="grctl dashboard", daemon=True)
        self._parts = (settings, access, listening)
        self._server: uvicorn.Server | None = None
        self._is_stopped = False

    def run(self) -> None:
        try:
            asyncio.run(_serve(*self._parts, lambda _: None, self._has))
        except Exception as error:
            log.error("dashboard ended", error=f"{type(error).__name__}: {error}", exc_info=error)

    def stop(self) -> None:
        """Ask it to end, and wait for that, within bounds."""
        self._is_stopped = True
        if self._server is not None:
            self._server.should_exit = True
        self.join(2 * STOP_SECONDS)

    def _has(self, server: uvicorn.Server) -> None:
        self._server = server
        server.should_exit = self._is_stopped


def url_of(host: str, port: int) -> str:
    """Where a browser on this machine finds it."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - it is looked for, not bound to
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _listen(settings: Settings, *, any_port: bool = False) -> socket.socket:
    """Listening before anything is said, so that a port that is taken is an error of the start."""
    host, port = settings.dashboard_host, settings.dashboard_port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        if any_port and error.errno == errno.EADDRINUSE and port:
            return _listen(settings.model_copy(update={"dashboard_port": 0}))
        raise ConfigurationError(
            f"the dashboard cannot listen on {host}:{port}: {error.strerror or error}. Choose "
            "another address or port: --host, --port, GRCTL_DASHBOARD_HOST, GRCTL_DASHBOARD_PORT"
        ) from error
