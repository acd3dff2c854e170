"""Workers and workflow types: who serves what."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from grctl.web.site import site_of

__all__ = ["types", "workers"]


async def workers(request: Request) -> Response:
    """The workers that are up, and those that ended lately; all of them if asked."""
    site = site_of(request)
    everyone = request.query_params.get("all") == "1"
    return site.page(
        request,
        "workers.html",
        workers=await site.database.fetch("leases", "list", everyone),
        everyone=everyone,
        now=await site.database.fetchval("overview", "now"),
    )


async def types(request: Request) -> Response:
    """Every type that was ever registered, and the names it handles."""
    site = site_of(request)
    found = await site.database.fetch("types", "list")
    return site.page(request, "types.html", types=found)
