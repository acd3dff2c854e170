"""Plain values to JSON bytes: always the same ones, and always valid UTF-8."""

from __future__ import annotations

import json
import re
from typing import Any, Final

from pydantic_core import PydanticSerializationError, to_json

__all__ = ["as_bytes", "sorted_by_text"]

_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def as_bytes(plain: Any) -> bytes:
    """The JSON of a plain value, with lone surrogates escaped: UTF-8 cannot hold them raw."""
    try:
        return to_json(plain)
    except PydanticSerializationError:
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return _LONE_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def sorted_by_text(items: list[Any]) -> list[Any]:
    """The members of a set in an order that no hash seed changes."""
    return sorted(items, key=as_bytes)
