"""What every request has to pass before a page sees it, and what every answer carries.

In this order: it is addressed to us (against DNS rebinding), it is of a method that we have, its
sender may come in, and if it changes something, it comes from a page of ours: by its Origin here,
and by the form's token where the form is read (``forms``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from grctl.log import get_logger
from grctl.web.access import Access
from grctl.web.session import LONGEST_SECONDS, Sessions, Visitor

__all__ = ["Guard", "visitor_of"]

log = get_logger("grctl.dashboard")

OPEN_PATHS = ("/static/", "/login")
"""What is shown to whoever has not signed in."""

HEADERS = {
    "content-security-policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: browsers would send "Origin: null" with our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

_Handler = Callable[[Request], Awaitable[Response | None]]


def visitor_of(request: Request) -> Visitor:
    """Who asks."""
    visitor: Visitor = request.scope["grctl.visitor"]
    return visitor


class Guard:
    """The application, behind what is said above."""

    def __init__(self, app: ASGIApp, access: Access, sessions: Sessions) -> None:
        self.app = app
        self.access = access
        self.sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. The path of a health check is open to all: it says nothing of anybody."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        request = Request(scope)
        visitor: Visitor | None = None
        refusal: Response | None = None
        if scope["path"] != "/healthz":
            visitor, refusal = self._admit(request)
        if visitor is not None:
            scope["grctl.visitor"] = visitor
        answering = self._answering(request, visitor, send)
        await (refusal or self.app)(scope, receive, answering)

    def _admit(self, request: Request) -> tuple[Visitor | None, Response | None]:
        """The visitor, or why the request goes no further."""
        refusal = self._refusal_of(request)
        if refusal is not None:
            return None, refusal
        if self.access.way == "proxy":
            return self._from_proxy(request)
        visitor = self.sessions.read(request.cookies.get(self.sessions.cookie))
        if self.access.way == "loopback":
            return visitor or self.sessions.begin("local"), None
        visitor = visitor or self.sessions.begin(None)
        if visitor.user is None and not request.url.path.startswith(OPEN_PATHS):
            return visitor, self._to_login(request)
        return visitor, None

    def _refusal_of(self, request: Request) -> Response | None:
        """Why it is no request of ours, whoever sends it; None if it is one."""
        headers, host = request.headers, request.headers.get("host")
        if not self.access.is_addressed_to_us(host):
            return self._refuse(
                request, 421, f"The dashboard is not known as {host!r}: see GRCTL_DASHBOARD_HOSTS."
            )
        if request.method not in ("GET", "HEAD", "POST"):
            return self._refuse(request, 405, "Method not allowed.")
        if b"%00" in request.scope["raw_path"] or b"%00" in request.scope["query_string"]:
            return self._refuse(request, 400, "An address has no NUL characters.")
        if request.method == "POST" and not self._is_our_page(headers):
            return self._refuse(request, 403, "The request is from no page of the dashboard.")
        return None

    def _is_our_page(self, headers: Headers) -> bool:
        if "origin" in headers:
            return self.access.is_same_origin(headers["origin"], headers.get("host"))
        return headers.get("sec-fetch-site") == "same-origin"

    def _from_proxy(self, request: Request) -> tuple[Visitor | None, Response | None]:
        peer = request.client.host if request.client else None
        if not self.access.is_proxy(peer):
            return None, self._refuse(request, 403, "Not from the proxy: sign in there.")
        named = request.headers.getlist(self.access.header or "")
        user = named[0].strip() if len(named) == 1 else ""
        if not user:
            return None, self._refuse(request, 401, "The proxy names no user.")
        visitor = self.sessions.read(request.cookies.get(self.sessions.cookie))
        # The header alone says who it is: a session of somebody else is not gone on with.
        if visitor is None or visitor.user != user:
            visitor = self.sessions.begin(user)
        return visitor, None

    @staticmethod
    def _to_login(request: Request) -> Response:
        if request.method == "POST" or request.headers.get("x-live"):
            return PlainTextResponse("You are signed out: load the page again.", 401)
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(target, safe='')}", 303)

    @staticmethod
    def _refuse(request: Request, status: int, words: str) -> Response:
        log.warning(
            "request refused",
            status=status,
            reason=words,
            peer=request.client.host if request.client else None,
            method=request.method,
            path=request.url.path,
            host=request.headers.get("host"),
            origin=request.headers.get("origin"),
        )
        return PlainTextResponse(words, status)

    def _answering(self, request: Request, visitor: Visitor | None, send: Send) -> Send:
        """What is sent, with our headers; a new visitor gets the cookie."""

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
                # What any cache may keep, for everybody, has no visitor's session in it.
                needs_none = "set-cookie" in headers or "public" in headers["cache-control"]
                if visitor is not None and visitor.is_new and not needs_none:
                    headers.append("set-cookie", self.cookie(request, visitor))
            await send(message)

        return answer

    def cookie(self, request: Request, visitor: Visitor) -> str:
        """The Set-Cookie header of a session; out of reach of scripts and of other sites."""
        response = Response()
        response.set_cookie(
            self.sessions.cookie,
            self.sessions.write(visitor),
            max_age=LONGEST_SECONDS,
            httponly=True,
            samesite="strict",
            secure=is_secure(request),
        )
        return response.headers["set-cookie"]


def is_secure(request: Request) -> bool:
    """Whether the browser came by HTTPS: to us, or as its Origin says, to a proxy before us."""
    origin = request.headers.get("origin") or request.headers.get("referer") or ""
    return request.url.scheme == "https" or origin.startswith("https://")
