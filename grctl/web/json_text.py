"""JSON as it is stored, made legible. The text's own numbers and strings stay as they are: nothing
is read into floats on the way, so that no digit is lost.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

__all__ = ["parse", "pretty", "pretty_value"]

_PIECE: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_INDENT: Final = "  "


def pretty(text: str | None) -> str:
    """A JSON text in several lines; as it is, if it is none (cut off, for one)."""
    if not text:
        return ""
    parts: list[str] = []
    depth = 0
    before = ""
    for piece in _PIECE.findall(text):
        closes = piece in "}]"
        if closes:
            depth = max(0, depth - 1)
        is_empty = closes and before in ("{", "[")
        if (closes and not is_empty) or (before in ("{", "[", ",") and not is_empty):
            parts.append(f"\n{_INDENT * depth}")
        parts.append(": " if piece == ":" else piece)
        if piece in ("{", "["):
            depth += 1
        before = piece
    return "".join(parts)


def pretty_value(value: Any) -> str:
    """A value that was read already, as a JSON text in several lines."""
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


def parse(text: str, what: str) -> Any:
    """The value of what somebody has typed. ValueError says what is wrong, and where."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{what} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}. "
            'Text needs quotes: "like this"'
        ) from None
    except RecursionError:
        raise ValueError(f"{what} is nested too deeply") from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
