"""Text of users' code and of payloads, made such that it steers no terminal."""

from __future__ import annotations

import json
import re
from typing import Any, Final

__all__ = ["json_text", "printable"]

_STEERING: Final = re.compile("[\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What JSON leaves as it is within a string: controls, line ends and directions of Unicode."""


def printable(text: str) -> str:
    """The text in one line, without characters that steer a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


def json_text(value: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """The value as JSON: the same value for a program, and harmless for a terminal."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
