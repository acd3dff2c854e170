"""The application: which address is which page, and what is shown when something goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from grctl.client import Client
from grctl.errors import WorkflowNotFoundError
from grctl.log import get_logger
from grctl.postgres.database import is_passing
from grctl.settings import Settings
from grctl.web.access import Access, access_of
from grctl.web.guard import Guard
from grctl.web.pages import acting, login, overview, run, runs, serving, starting
from grctl.web.site import STATIC, Site, site_of

__all__ = ["make_app"]

log = get_logger("grctl.dashboard")

HEALTH_SECONDS = 5.0
AGAIN_SECONDS = 3
"""After which a browser asks again for a page that could not be made."""


def make_app(client: Client, settings: Settings, access: Access | None = None) -> ASGIApp:
    """The dashboard as an ASGI application, guarded.

    ConfigurationError if the settings would let in anybody.
    """
    access = access or access_of(settings)
    site = Site(client, settings, access)
    app = Starlette(routes=_routes(), exception_handlers=_HANDLERS)
    app.state.site = site
    return Guard(app, access, site.sessions)


def _routes() -> list[Route | Mount]:
    one = "/runs/{run_id:uuid}"
    return [
        Route("/", overview.show),
        Route("/runs", runs.show),
        Route("/start", starting.show),
        Route("/start", starting.start, methods=["POST"]),
        Route(one, run.show),
        Route(f"{one}/mark", run.mark),
        Route(f"{one}/events/{{seq:int}}", run.show_event),
        Route(f"{one}/value", run.value),
        Route(f"{one}/{{action}}", acting.show),
        Route(f"{one}/{{action}}", acting.act, methods=["POST"]),
        Route("/workers", serving.workers),
        Route("/types", serving.types),
        Route("/login", login.show),
        Route("/login", login.sign_in, methods=["POST"]),
        Route("/logout", login.sign_out, methods=["POST"]),
        Route("/healthz", _health),
        Mount("/static", _Static(directory=STATIC)),
    ]


class _Static(StaticFiles):
    """Our own files; their address changes when they do."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response: Response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


async def _health(request: Request) -> Response:
    """Whether the dashboard can do its work: for a balancer, or a container's health check."""
    try:
        async with asyncio.timeout(HEALTH_SECONDS):
            await site_of(request).database.fetchval("overview", "now")
    except Exception as error:
        if not is_passing(error):
            raise
        return JSONResponse({"status": "no database"}, 503)
    return JSONResponse({"status": "ok"})


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = {404: "Not found", 403: "Not allowed", 405: "Not allowed"}.get(
        error.status_code, "Error"
    )
    return site_of(request).page(
        request, "error.html", error.status_code, title=title, words=error.detail
    )


async def _not_found(request: Request, error: Exception) -> Response:
    return site_of(request).page(request, "error.html", 404, title="Not found", words=str(error))


async def _unreachable(request: Request, error: Exception) -> Response:
    log.warning(
        "database unavailable", path=request.url.path, error=f"{type(error).__name__}: {error}"
    )
    is_act = request.method == "POST"
    then = "It is not known whether it was done." if is_act else "The page tries again by itself."
    answer = site_of(request).page(
        request,
        "error.html",
        503,
        title="The database does not answer",
        words=f"{type(error).__name__}: {error}. {then}",
    )
    if not is_act:
        answer.headers["refresh"] = str(AGAIN_SECONDS)
    return answer


async def _defect(request: Request, error: Exception) -> Response:
    log.error("page failed", path=request.url.path, exc_info=error)
    return site_of(request).page(
        request,
        "error.html",
        500,
        title="This page has a defect",
        words="It is in the dashboard's log.",
    )


_HANDLERS: dict[int | type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    HTTPException: _refused,
    WorkflowNotFoundError: _not_found,
    asyncpg.PostgresConnectionError: _unreachable,
    asyncpg.InterfaceError: _unreachable,
    asyncpg.OperatorInterventionError: _unreachable,
    asyncpg.InsufficientResourcesError: _unreachable,
    OSError: _unreachable,
    TimeoutError: _unreachable,
    Exception: _defect,
}
