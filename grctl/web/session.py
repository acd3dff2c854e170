"""A visitor's session: a signed cookie, and the token that proves a form to be from our own page.

The key is made when the dashboard starts: a restart signs everybody out, and no key is stored.
"""

from __future__ import annotations

import hmac
import secrets
from collections import deque
from dataclasses import dataclass

from itsdangerous import BadSignature, URLSafeTimedSerializer

__all__ = ["LONGEST_SECONDS", "Sessions", "Visitor"]

LONGEST_SECONDS = 12 * 3600


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks. ``user`` is None as long as they have not signed in; ``csrf`` goes into forms."""

    session: str
    user: str | None
    csrf: str
    is_new: bool = False
    """Whether the browser has to be given the cookie."""


class Sessions:
    """Makes and reads the cookie of one dashboard."""

    def __init__(self, port: int) -> None:
        # Cookies are not kept apart by port: two dashboards on one host would take each other's.
        self.cookie = f"grctl_{port}"
        self._signer = URLSafeTimedSerializer(secrets.token_bytes(32), salt="session")
        self._key = secrets.token_bytes(32)
        self._ended: deque[str] = deque(maxlen=10_000)

    def begin(self, user: str | None) -> Visitor:
        """A new session."""
        return self._visitor(secrets.token_urlsafe(18), user, is_new=True)

    def read(self, cookie: str | None) -> Visitor | None:
        """The session of a cookie; None if it is not ours, or too old."""
        if not cookie:
            return None
        try:
            session, user = self._signer.loads(cookie, max_age=LONGEST_SECONDS)
        except (BadSignature, ValueError, TypeError):
            return None
        return None if session in self._ended else self._visitor(session, user)

    def end(self, visitor: Visitor) -> None:
        """The session's cookie is good for nothing any more, whoever has it."""
        self._ended.append(visitor.session)

    def write(self, visitor: Visitor) -> str:
        """The cookie's value."""
        text = self._signer.dumps([visitor.session, visitor.user])
        return text if isinstance(text, str) else text.decode()

    def _visitor(self, session: str, user: str | None, *, is_new: bool = False) -> Visitor:
        csrf = hmac.new(self._key, session.encode(), "sha256").hexdigest()
        return Visitor(session, user, csrf, is_new)
