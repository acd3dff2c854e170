"""Which names PostgreSQL can hold."""

from __future__ import annotations

__all__ = ["is_text"]


def is_text(value: object) -> bool:
    """Whether this can be a parameter of type ``text``: a str without NUL and lone surrogates."""
    if not isinstance(value, str) or "\0" in value:
        return False
    return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)
