"""To sign in with the dashboard's token, and to sign out."""

from __future__ import annotations

import asyncio
import hmac

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from grctl.log import get_logger
from grctl.web.forms import read_form
from grctl.web.guard import is_secure, visitor_of
from grctl.web.session import LONGEST_SECONDS, Visitor
from grctl.web.site import Site, site_of

__all__ = ["show", "sign_in", "sign_out"]

log = get_logger("grctl.dashboard")

WRONG_SECONDS = 1.0
"""How long a wrong token takes, one after the other: guessing is slow."""


async def show(request: Request) -> Response:
    """The form; whoever needs none is led on."""
    site = site_of(request)
    target = _target(request.query_params.get("next", "/"))
    if visitor_of(request).user is not None:
        return RedirectResponse(target, 303)
    return site.page(request, "login.html", target=target, problem="")


async def sign_in(request: Request) -> Response:
    """A new session, if the token is right."""
    site = site_of(request)
    form = await read_form(request)
    target = _target(form["next"])
    peer = request.client.host if request.client else None
    token = site.access.token
    if token is None or not hmac.compare_digest(form["token"].strip().encode(), token.encode()):
        log.warning("sign-in refused", peer=peer)
        async with site.kept.setdefault("login", asyncio.Lock()):
            await asyncio.sleep(WRONG_SECONDS)
        return site.page(
            request, "login.html", 403, target=target, problem="That is not the token."
        )
    log.info("signed in", peer=peer)
    response = RedirectResponse(target, 303)
    _give(site, request, response, site.sessions.begin("token"))
    return response


async def sign_out(request: Request) -> Response:
    """No session any more."""
    await read_form(request)
    site_of(request).sessions.end(visitor_of(request))
    response = RedirectResponse("/login", 303)
    response.delete_cookie(site_of(request).sessions.cookie, httponly=True, samesite="strict")
    return response


def _give(site: Site, request: Request, response: Response, visitor: Visitor) -> None:
    response.set_cookie(
        site.sessions.cookie,
        site.sessions.write(visitor),
        max_age=LONGEST_SECONDS,
        httponly=True,
        samesite="strict",
        secure=is_secure(request),
    )


def _target(text: str) -> str:
    """A path of ours; nothing that leads elsewhere."""
    # One slash: what begins with two names another site, and so does one with a backslash.
    is_ours = text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if is_ours and text.isprintable() else "/"
