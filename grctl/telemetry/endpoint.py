"""``/metrics``, ``/healthz`` and ``/readyz`` of a worker process.

Served by threads of their own: while the worker's event loop stands still they can say so.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, TypeVar

from grctl.errors import ConfigurationError, DatabaseNotMigratedError, DatabaseTooNewError
from grctl.log import get_logger
from grctl.postgres.database import Database
from grctl.postgres.depths import DepthGauge, Depths
from grctl.postgres.migrations import check
from grctl.telemetry.health import Vitals, why_dead, why_not_ready
from grctl.telemetry.metrics import Metrics
from grctl.telemetry.prometheus import REGISTRY, Exposition, choose_encoder

__all__ = ["Endpoint"]

T = TypeVar("T")
log = get_logger("grctl.metrics")

MOST_REQUESTS = 8
"""At once; more are refused. A scraper needs one."""
SLOWEST_REQUEST_SECONDS = 5.0
STALL_SECONDS = 1.0
"""After so much silence nothing is asked of the event loop."""
DATABASE_SECONDS = 4.0
"""How long an answer waits for the event loop and the database."""


class Endpoint:
    """Serves one worker's port, as a context manager, within the worker's event loop.

    ``vitals`` is ``worker.vitals``. Metrics that users' code has in prometheus_client's default
    registry are served too. ConfigurationError if the port cannot be had.
    """

    def __init__(
        self,
        host: str,
        port: int,
        database: Database,
        metrics: Metrics,
        vitals: Callable[[], Vitals],
    ) -> None:
        self._vitals = vitals
        self._database = database
        self._depths = DepthGauge(database)
        self._loop = asyncio.get_running_loop()
        self._collector = Exposition(metrics, vitals, self._read_depths)
        try:
            self._server = _Server((host, port), self)
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {host} port {port}: {error.strerror or error}. Each worker of a "
                "host needs a port of its own: set GRCTL_METRICS_PORT, or 0 for any that is free"
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="grctl metrics", daemon=True
        )

    @property
    def url(self) -> str:
        """Where it is."""
        host, port = self._server.server_address[:2]
        shown = f"[{host!s}]" if ":" in str(host) else str(host)
        return f"http://{shown}:{port}"

    def __enter__(self) -> Self:
        REGISTRY.register(self._collector)
        self._thread.start()
        log.info("metrics served", url=self.url)
        return self

    def __exit__(self, *_error: object) -> None:
        REGISTRY.unregister(self._collector)
        # Not shutdown(): it would hold up the loop until the thread has seen it.
        threading.Thread(target=self._close, name="grctl metrics end", daemon=True).start()

    def _close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    # --- answers, given by the server's threads -----------------------------------------------

    def metrics(self, accept: str) -> tuple[str, bytes]:
        """The content type, and all metrics in it."""
        encoder, content_type = choose_encoder(accept)
        return content_type, encoder(REGISTRY)

    def healthz(self) -> dict[str, Any]:
        """Whether the process is alive."""
        return self._told(why_dead(self._vitals()))

    def readyz(self) -> dict[str, Any]:
        """Whether the worker can take runs, and their outcomes be recorded."""
        problem = None
        try:
            self._in_loop(self._check)
        except (DatabaseNotMigratedError, DatabaseTooNewError) as error:
            problem = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            problem = f"the database does not answer: {type(error).__name__}: {error}".rstrip(": ")
        return self._told(why_not_ready(self._vitals(), problem))

    def _told(self, reasons: list[str]) -> dict[str, Any]:
        return {"ok": not reasons, "worker": self._vitals().worker_id, "reasons": reasons}

    async def _check(self) -> None:
        async with self._database.pool.acquire(timeout=DATABASE_SECONDS) as connection:
            await check(connection, self._database.schema)

    def _read_depths(self) -> Depths | None:
        try:
            return self._in_loop(self._depths.read)
        except Exception as error:  # noqa: BLE001 - the rest of the scrape is all the more wanted
            log.warning("depths not read", error=repr(error)[:300])
            return None

    def _in_loop(self, question: Callable[[], Awaitable[T]]) -> T:
        if self._vitals().loop_silent > STALL_SECONDS:
            raise TimeoutError("the worker's event loop stands still")

        async def ask() -> T:
            return await question()

        asked = asyncio.run_coroutine_threadsafe(ask(), self._loop)
        try:
            return asked.result(DATABASE_SECONDS)
        except TimeoutError:
            asked.cancel()
            raise


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._slots = threading.BoundedSemaphore(MOST_REQUESTS)
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own, while there are not too many."""
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """As always, and then the slot is free again."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - its signature
        """A scraper that goes away is no news; anything else is a defect of ours."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):
            log.error("metrics request failed", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = SLOWEST_REQUEST_SECONDS
    server_version = "grctl"
    sys_version = ""

    def do_GET(self) -> None:
        endpoint = self.server.endpoint
        match self.path.partition("?")[0]:
            case "/metrics":
                self._answer(HTTPStatus.OK, *endpoint.metrics(self.headers.get("Accept", "")))
            case "/healthz":
                self._health(endpoint.healthz())
            case "/readyz":
                self._health(endpoint.readyz())
            case _:
                paths = b"there is /metrics, /healthz and /readyz\n"
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", paths)

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def _health(self, told: dict[str, Any]) -> None:
        status = HTTPStatus.OK if told["ok"] else HTTPStatus.SERVICE_UNAVAILABLE
        self._answer(status, "application/json", json.dumps(told).encode() + b"\n")

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # the library's name
        """Nothing: a line a scrape is of no use."""
