"""What all pages share: the client, the templates, and how an answer is made of both."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from grctl.client import Client
from grctl.models.run import RunStatus
from grctl.settings import Settings
from grctl.version import __version__
from grctl.web import words
from grctl.web.access import Access
from grctl.web.events import fields_of, gist
from grctl.web.guard import visitor_of
from grctl.web.json_text import pretty, pretty_value
from grctl.web.session import Sessions

__all__ = ["STATIC", "Site", "site_of"]

STATIC = Path(__file__).parent / "static"
THEMES = ("light", "dark")
_CODE, _TEXT = Markup("<code>{}</code>"), Markup("{}")


class Site:
    """One dashboard."""

    def __init__(self, client: Client, settings: Settings, access: Access) -> None:
        self.client = client
        self.database = client.database
        self.settings = settings
        self.access = access
        self.sessions = Sessions(settings.dashboard_port)
        self.kept: dict[str, Any] = {}
        """What pages keep between requests, by their names."""
        self._pages = _environment()

    @cached_property
    def place(self) -> str:
        """Where the database is, without credentials."""
        url = urlsplit(self.settings.require_database_url())
        return f"{url.netloc.rpartition('@')[2]}{url.path} · {self.settings.db_schema}"

    def page(
        self, request: Request, template: str, code: int = 200, **context: Any
    ) -> HTMLResponse:
        """A page from its template. What is given to it is escaped, all of it."""
        theme = request.cookies.get("theme")
        shared: Mapping[str, Any] = {
            "path": request.url.path,
            "place": self.place,
            "theme": theme if theme in THEMES else "",
            "visitor": visitor_of(request),
            "can_act": not self.settings.dashboard_read_only,
            "can_sign_out": self.access.way == "token",
        }
        text = self._pages.get_template(template).render({**shared, **context})
        return HTMLResponse(text, code)


def site_of(request: Request) -> Site:
    """The dashboard that a request is to."""
    site: Site = request.app.state.site
    return site


def _environment() -> Environment:
    pages = Environment(
        loader=PackageLoader("grctl.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {
        "ago": words.ago,
        "clock": words.clock,
        "count": words.count,
        "dict_of": dict,
        "duration": words.duration,
        "fields_of": fields_of,
        "gist": gist,
        "pretty": pretty,
        "pretty_value": pretty_value,
        "rate": words.rate,
        "with_code": with_code,
    }
    pages.globals |= {"version": __version__, "assets": _assets(), "statuses": list(RunStatus)}
    return pages


def with_code(text: str) -> Markup:
    """A sentence in which what stands in backticks is code; all of it is escaped."""
    parts = [
        (_CODE if n % 2 else _TEXT).format(part)
        for n, part in enumerate(f"{text[:1].upper()}{text[1:]}".split("`"))
    ]
    return Markup("").join(parts)


def _assets() -> str:
    """Changes whenever a file of ours does: browsers keep the others for good."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
