"""What a client says to PostgreSQL, statement by statement, read from its bytes."""

from __future__ import annotations

import struct

_SSL_REQUEST = 80877103
_GSS_REQUEST = 80877104


class Frontend:
    """One connection's way to the server. Fed with what passes, it tells what is executed."""

    def __init__(self) -> None:
        self._buffer = b""
        self._has_begun = False
        self._prepared: dict[bytes, str] = {}

    def executed(self, data: bytes) -> list[str]:
        """The texts of the statements whose execution these bytes ask for, in order.

        Of a prepared one that is its Bind: by then its text is known from its Parse.
        """
        self._buffer += data
        texts: list[str] = []
        while (message := self._next()) is not None:
            kind, body = message
            if kind == b"P":
                name, text = body.split(b"\0", 2)[:2]
                self._prepared[name] = text.decode()
            elif kind == b"B":
                name = body.split(b"\0", 2)[1]
                texts.append(self._prepared[name])
            elif kind == b"Q":
                texts.append(body.rstrip(b"\0").decode())
        return texts

    def _next(self) -> tuple[bytes, bytes] | None:
        """The next whole message; the first ones of a connection have no type."""
        start = 1 if self._has_begun else 0
        if len(self._buffer) < start + 4:
            return None
        (size,) = struct.unpack_from("!I", self._buffer, start)
        if len(self._buffer) < start + size:
            return None
        kind, body = self._buffer[:start], self._buffer[start + 4 : start + size]
        self._buffer = self._buffer[start + size :]
        if not self._has_begun:
            (code,) = struct.unpack_from("!I", body)
            self._has_begun = code not in {_SSL_REQUEST, _GSS_REQUEST}
        return kind, body
