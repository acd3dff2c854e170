"""What a page of ours sends back: read within bounds, and only if it has its token."""

from __future__ import annotations

import hmac
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from grctl.web.guard import visitor_of

__all__ = ["Form", "read_form"]

LONGEST = 3 * 2 * 1024 * 1024 + 64 * 1024
"""Bytes of a body: the largest payload, each byte as %XX."""
MOST_FIELDS = 50


class Form(dict[str, str]):
    """The fields by name; what is missing is empty."""

    def __missing__(self, key: str) -> str:
        return ""


async def read_form(request: Request) -> Form:
    """The form of a POST. An HTTPException refuses what no page of ours can have sent."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, "A form is expected.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST:
            raise HTTPException(413, "The form is too large.")
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS, errors="strict"
        )
    except ValueError:
        raise HTTPException(400, "The form cannot be read.") from None
    form = Form(pairs)
    if any("\0" in field for field in form.values()):
        raise HTTPException(400, "A field has no NUL characters.")
    if not hmac.compare_digest(form["csrf"].encode(), visitor_of(request).csrf.encode()):
        raise HTTPException(403, "The page is too old: load it again, and repeat what you did.")
    return form
