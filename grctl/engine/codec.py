"""Values to JSON text and back: what is recorded can be read again, or is refused when written.

The text is for a PostgreSQL column of type ``json``. The same value gives the same text in every
process. Nothing but SerializationError (and its PayloadTooLargeError) comes out of this module.
"""

from __future__ import annotations

import inspect
import json
from math import isfinite
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json

from grctl.engine.codec_plain import (
    MAX_DEPTH,
    MAX_INT_DIGITS,
    PlainForm,
    is_plain_tree,
)
from grctl.engine.codec_registry import CodecRegistry
from grctl.engine.codec_text import as_bytes
from grctl.engine.codec_types import TypedReaders
from grctl.errors import PayloadTooLargeError, SerializationError

__all__ = [
    "DEFAULT_MAX_BYTES",
    "MAX_DEPTH",
    "MAX_INT_DIGITS",
    "Codec",
    "CodecRegistry",
    "is_plain",
    "same_json",
]

DEFAULT_MAX_BYTES: Final = 2 * 1024 * 1024
"""The default of ``max_payload_bytes``: 2 MiB."""

_SHORT_INT_END: Final = 10**18
_SHOWN_ERRORS: Final = 3
_PLAIN_SCALARS: Final = frozenset({str, int, bool, float, type(None)})


class Codec:
    """Writes values as JSON text and reads them back, typed by annotation.

    ``registry`` adds types (none by default). ``max_bytes`` is the largest JSON text in bytes of
    UTF-8 (default 2 MiB, the setting ``max_payload_bytes``); ValueError below 32.
    """

    def __init__(
        self, registry: CodecRegistry | None = None, max_bytes: int = DEFAULT_MAX_BYTES
    ) -> None:
        if max_bytes < 32:  # short values are not measured
            raise ValueError(f"max_payload_bytes must be at least 32, not {max_bytes}")
        self.registry = registry
        self.max_bytes = max_bytes
        self._readers = TypedReaders(registry, self._read_plain, self._write_small)

    def encode(self, value: Any, *, what: str = "value") -> str:
        """The JSON text of a value. ``what`` names it in errors, as in ``result["items"][3]``.

        Raises SerializationError where the value cannot be written so that it comes back (an open
        file, NaN, keys that collide, a cycle), PayloadTooLargeError where its text is too large.
        """
        kind = type(value)
        if kind is int:
            if -_SHORT_INT_END < value < _SHORT_INT_END:
                return str(value)
        elif value is None:
            return "null"
        elif kind is bool:
            return "true" if value else "false"
        elif kind is str or (
            (kind is dict or kind is list) and is_plain_tree(value, self.max_bytes)
        ):
            try:
                raw = to_json(value)
            except PydanticSerializationError:  # lone surrogates: the long way escapes them
                pass
            else:
                if len(raw) > self.max_bytes:
                    raise self._too_large(what, len(raw))
                return raw.decode()
        return self._encode_any(value, what)

    def decode(self, text: str, annotation: Any = None, *, what: str = "value") -> Any:
        """The value of a JSON text, as ``annotation`` says.

        Without one (None, Any, object, ``inspect.Parameter.empty``) the plain JSON value. Raises
        SerializationError that says what was expected and found, and where.
        """
        if (
            annotation is None
            or annotation is Any
            or annotation is object
            or annotation is inspect.Parameter.empty
        ):
            return _parsed(text, what)
        try:
            if annotation is str or annotation is int:  # the most usual, without the detour
                plain = from_json(text)
                if type(plain) is annotation:
                    return plain
            return self._readers.find(annotation).validate_json(text, by_alias=True, by_name=True)
        except Exception as error:
            if "\\ud" in text.lower():
                return self._decode_surrogates(text, annotation, what)
            raise _unreadable(error, annotation, what) from error

    def _encode_any(self, value: Any, what: str) -> str:
        try:
            raw = as_bytes(PlainForm(self.registry, what, self.max_bytes).of(value))
        except SerializationError:
            raise
        except Exception as error:
            why = f"{what} ({type(value).__qualname__}) cannot be written as JSON: {_said(error)}"
            raise SerializationError(why) from error
        if len(raw) > self.max_bytes:
            raise self._too_large(what, len(raw))
        return raw.decode()

    def _decode_surrogates(self, text: str, annotation: Any, what: str) -> Any:
        try:
            validator = self._readers.with_surrogates(annotation)
            return validator.validate_python(json.loads(text), by_alias=True, by_name=True)
        except Exception as error:
            raise _unreadable(error, annotation, what) from error

    def _read_plain(self, plain: Any, annotation: Any) -> Any:
        return self.decode(as_bytes(plain).decode(), annotation)

    def _write_small(self, value: Any) -> str:
        return self.encode(value)

    def _too_large(self, what: str, size: int) -> PayloadTooLargeError:
        return PayloadTooLargeError(
            f"{what} is {size} bytes as JSON, more than the limit of {self.max_bytes} bytes "
            f"(setting max_payload_bytes): store it elsewhere and pass a reference"
        )


def is_plain(value: Any, annotation: Any = None) -> bool:
    """Whether decoding would give this very value back, so that it can be passed as it is.

    True for None, bool, int, str and finite float themselves (no subclasses), if there is no
    annotation or it is exactly that type: an int that is annotated float comes back as a float.
    """
    kind = type(value)
    if kind not in _PLAIN_SCALARS or (kind is float and not isfinite(value)):
        return False
    return (
        annotation is kind
        or annotation is None
        or annotation is Any
        or annotation is object
        or annotation is inspect.Parameter.empty
    )


def same_json(a: str, b: str) -> bool:
    """Whether two JSON texts say the same, whatever the order of keys and the spaces.

    ``1``, ``1.0`` and ``true`` are three different values, and so are ``0.0`` and ``-0.0``. A text
    that is not JSON is the same as itself only.
    """
    if a == b:
        return True
    try:
        return _same(json.loads(a), json.loads(b))
    except (ValueError, RecursionError):
        return False


def _same(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if type(a) is dict:
        return len(a) == len(b) and all(key in b and _same(item, b[key]) for key, item in a.items())
    if type(a) is list:
        return len(a) == len(b) and all(map(_same, a, b))
    return repr(a) == repr(b) if type(a) is float else bool(a == b)


def _parsed(text: str, what: str) -> Any:
    try:
        return from_json(text)
    except Exception:  # noqa: BLE001 - lone surrogates among others: Python's own reader decides
        try:
            return json.loads(text)
        except Exception as error:
            raise SerializationError(f"{what} is not readable JSON: {_said(error)}") from error


def _unreadable(error: Exception, annotation: Any, what: str) -> SerializationError:
    wanted = _wanted(annotation)
    if not isinstance(error, ValidationError):
        return SerializationError(f"{what} cannot be read as {wanted}: {_said(error)}")
    found = error.errors(include_url=False, include_context=False)
    shown = [f"{what}{_place(one['loc'])}: {_fault(one)}" for one in found[:_SHOWN_ERRORS]]
    if len(found) > _SHOWN_ERRORS:
        shown.append(f"and {len(found) - _SHOWN_ERRORS} more")
    return SerializationError(f"{what} cannot be read as {wanted}: {'; '.join(shown)}")


def _fault(one: Any) -> str:
    if one["type"] == "missing":
        return "is missing"
    try:
        found = repr(one["input"])
    except Exception:  # noqa: BLE001 - a user's __repr__
        found = "..."
    found = found if len(found) <= 80 else found[:77] + "..."
    return f"{one['msg']} (found {type(one['input']).__name__} {found})"


def _place(loc: tuple[int | str, ...]) -> str:
    return "".join(f"[{json.dumps(piece)}]" for piece in loc)


def _wanted(annotation: Any) -> str:
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__qualname__
    return repr(annotation).replace("typing.", "")[:200]


def _said(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a user's __str__
        text = ""
    return text[:500] or type(error).__name__
