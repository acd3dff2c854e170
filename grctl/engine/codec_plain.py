"""Any value the codec can write, as plain JSON values: None, bool, int, float, str, list, dict.

What would come back changed is refused here, with its place: NaN, keys that collide, cycles, too
deep nesting, masked secrets. The same value gives the same plain form in every process (sets are
sorted by their JSON text).
"""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from math import isfinite
from typing import Any, Final
from uuid import UUID

from pydantic_core import to_jsonable_python

from grctl.engine.codec_foreign import attrs_fields, is_attrs, is_struct, struct_fields
from grctl.engine.codec_models import IF_SECRET, PYDANTIC_MARKS, SECRETS, json_form
from grctl.engine.codec_registry import CodecRegistry, Registration
from grctl.engine.codec_text import sorted_by_text
from grctl.errors import GrctlError, PayloadTooLargeError, SerializationError

__all__ = ["MAX_DEPTH", "MAX_INT_DIGITS", "PlainForm", "duration", "is_plain_tree"]

MAX_DEPTH: Final = 200
"""Levels of lists and objects in a value: JSON readers, PostgreSQL's too, have such a limit."""

MAX_INT_DIGITS: Final = 4300
"""Digits of an int: Python's own default for reading one back (``sys.set_int_max_str_digits``)."""

_INT_END: Final = 10**MAX_INT_DIGITS
_MAX_FORMS: Final = 8  # a registered encode may return what another one has to encode
_FINAL: Final = frozenset({str, int, float, bool, type(None)})
_SIMPLE: Final = frozenset({str, bool, type(None)})
_SURROGATE_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")

Place = tuple[Any, ...]
"""Where a value is: ``(the place around it, how it is reached from there)``, or ``()``.

Reached by an index (int), a key (in a tuple of its own) or, as text, however it is to be shown.
Formatted only when an error needs it.
"""


@dataclasses.dataclass(frozen=True, slots=True)
class _Ready:
    """A value that is plain all through: no closer look is needed."""

    value: Any


class _Fields(dict[str, Any]):
    """The fields of an object: shown as ``.name`` in a place, where a dict shows ``["name"]``."""


def is_plain_tree(value: dict[str, Any] | list[Any], limit: int, levels: int = MAX_DEPTH) -> bool:
    """Whether a dict or list is plain all through and can be written as it is.

    A quick look for the common case: False only means that ``PlainForm`` has to look closer.
    ``limit`` bounds the values looked at, ``levels`` the nesting.
    """
    return _count(value, limit, levels) >= 0


def _count(value: Any, limit: int, levels: int) -> int:  # noqa: C901, PLR0911, PLR0912 - hot
    """The number of values below, -1 if one of them is not plain or there are too many."""
    if levels == 0:
        return -1
    total = len(value)
    if type(value) is dict:
        for key in value:
            if type(key) is not str:
                return -1
        items: Any = value.values()
    else:
        items = value
    for item in items:
        kind = type(item)
        if kind in _SIMPLE:
            continue
        if kind is int:
            if not -_INT_END < item < _INT_END:
                return -1
        elif kind is float:
            if not isfinite(item):
                return -1
        elif kind is dict or kind is list:
            below = _count(item, limit, levels - 1)
            if below < 0:
                return -1
            total += below
            if total > limit:
                return -1
        else:
            return -1
    return total


def duration(value: timedelta) -> str:
    """ISO 8601, exact to the microsecond, in days and seconds (no years, whose length varies)."""
    sign, value = ("-", -value) if value.days < 0 and value != timedelta.min else ("", value)
    if value == timedelta.min:  # its positive does not exist
        return f"-P{-value.days}D"
    days = f"{value.days}D" if value.days else ""
    fraction = f".{value.microseconds:06}" if value.microseconds else ""
    clock = f"T{value.seconds}{fraction}S" if value.seconds or fraction or not days else ""
    return f"{sign}P{days}{clock}"


def _moment(value: datetime) -> datetime:
    """The same instant with an offset in whole minutes, all that RFC 3339 can say."""
    offset = value.utcoffset()
    if offset is not None and offset % timedelta(minutes=1):
        return value.astimezone(timezone.utc)  # noqa: UP017 - reads as what it is
    return value


def _base64(value: bytes | bytearray) -> str:
    return base64.b64encode(value).decode("ascii")


# In this order: a datetime is a date too.
_AS_TEXT: Final[tuple[tuple[Any, Callable[[Any], str]], ...]] = (
    ((bytes, bytearray), _base64),
    (datetime, lambda value: _moment(value).isoformat()),
    ((date, time), lambda value: value.isoformat()),
    (timedelta, duration),
    (UUID, str),
)


class PlainForm:
    """One value on its way to plain JSON values; knows where it is, for the error messages."""

    def __init__(self, registry: CodecRegistry | None, what: str, max_bytes: int) -> None:
        self._registry = registry
        self._what = what
        self._max_bytes = max_bytes
        self._open: set[int] = set()
        self._seen = 0

    def of(self, value: Any) -> Any:
        """The plain form. Raises SerializationError, naming the place of what cannot be written."""
        return self._plain(value, ())

    def refuse(self, path: Place, why: str) -> SerializationError:
        """The error for the value at this place."""
        return SerializationError(f"{self._what}{_shown(path)} {why}")

    def _plain(self, value: Any, path: Place) -> Any:  # noqa: PLR0911 - a ladder of kinds
        kind = type(value)
        self._seen += 1
        if self._seen > self._max_bytes:  # each takes a byte at least: stop before memory does
            raise PayloadTooLargeError(
                f"{self._what} has more than {self._max_bytes} values, so its JSON is larger than "
                f"the limit of {self._max_bytes} bytes (setting max_payload_bytes)"
            )
        if kind is str:
            return self._text(value, path)
        if kind in _SIMPLE:
            return value
        if kind is int:
            return self._integer(value, path)
        if kind is float:
            return self._number(value, path)
        opened = value if kind is dict or kind is list else self._opened(value, path)
        if type(opened) in _FINAL:
            return opened
        if type(opened) is _Ready:
            return opened.value
        mark = id(value)
        if mark in self._open:
            raise self.refuse(path, "contains itself: a cycle cannot be written as JSON")
        if len(self._open) >= MAX_DEPTH:
            raise self.refuse(path, f"is nested deeper than {MAX_DEPTH} levels")
        self._open.add(mark)
        try:
            return self._members(opened, path)
        finally:
            self._open.discard(mark)

    def _members(self, value: Any, path: Place) -> Any:
        if isinstance(value, Mapping):
            by_name = type(value) is _Fields
            written: dict[str, Any] = {}
            for key, item in value.items():
                text = key if type(key) is str and key.isascii() else self._key(key, path)
                if text in written:
                    why = f"has two keys that are both written as {json.dumps(text)}"
                    raise self.refuse(path, why)
                written[text] = self._plain(item, (path, "." + text if by_name else (text,)))
            return written
        items: list[Any] = []
        if isinstance(value, (set, frozenset)):
            for item in value:
                items.append(self._plain(item, (path, "{...}")))  # noqa: PERF401 - see below
            return sorted_by_text(items)
        # A loop, not a comprehension: that would cost a frame a level, and there are 200 of them.
        for index, item in enumerate(value):
            items.append(self._plain(item, (path, index)))
        return items

    def _opened(self, value: Any, path: Place) -> Any:
        """One level of a value: a final plain scalar, or a container of what is inside."""
        for _ in range(_MAX_FORMS):
            kind: Any = type(value)
            registered = None if self._registry is None else self._registry.find(kind)
            if registered is not None:
                value = self._registered(value, registered, path)
            elif (names := _field_names(kind)) is not None:
                return self._fields(value, names, path)
            elif hasattr(kind, "__pydantic_serializer__"):
                return self._by_pydantic(value, path)
            elif isinstance(value, Enum):
                value = value.value
            elif isinstance(value, _CONTAINERS):
                return value
            else:
                return self._scalar(value, kind, path)
        raise self.refuse(path, f"is still a {_name(type(value))} after its registered encode")

    def _registered(self, value: Any, registered: Registration, path: Place) -> Any:
        try:
            return registered.encode(value)
        except GrctlError:
            raise
        except Exception as error:
            why = f"could not be encoded by its registered codec: {error!r}"
            raise self.refuse(path, why) from error

    def _fields(self, value: Any, names: tuple[str, ...], path: Place) -> Any:
        try:
            return _Fields((name, getattr(value, name)) for name in names)
        except AttributeError as error:
            raise self.refuse(path, f"({_name(type(value))}) lacks a field: {error}") from error

    def _scalar(  # noqa: PLR0911 - a ladder of types
        self, value: Any, kind: type, path: Place
    ) -> Any:
        """Values with no values inside; what is none of them has fields, or cannot be written."""
        if value is None or kind is bool:
            return value
        if isinstance(value, str):
            return self._text(str.__str__(value), path)
        if isinstance(value, int):
            return self._integer(int(value), path)
        if isinstance(value, float):
            return self._number(float(value), path)
        for kinds, written in _AS_TEXT:
            if isinstance(value, kinds):
                return written(value)
        if isinstance(value, Decimal):
            if not value.is_finite():
                raise self.refuse(path, f"is {value}, which JSON cannot hold: use None or a string")
            return str(value)
        if isinstance(value, SECRETS):
            raise self.refuse(path, f"is a {_name(kind)}: {IF_SECRET}")
        return self._object(value, kind, path)

    def _object(self, value: Any, kind: type, path: Place) -> Any:
        """Values with fields: each of them by the rules of its own library."""
        if isinstance(value, (type, Iterator)):
            raise self._unknown(value, kind, path)
        if any(hasattr(kind, name) for name in PYDANTIC_MARKS):
            return self._by_pydantic(value, path)
        try:
            if is_attrs(kind):
                return _Fields(attrs_fields(value))
            if is_struct(kind):
                fields = struct_fields(value)
                return fields if isinstance(fields, list) else _Fields(fields)
        except AttributeError as error:
            raise self.refuse(path, f"({_name(kind)}) lacks a field: {error}") from error
        # Paths, IP addresses, patterns, fractions and the like: what pydantic writes as text.
        try:
            written = to_jsonable_python(value)
        except Exception as error:
            raise self._unknown(value, kind, path) from error
        if type(written) is not str:
            raise self._unknown(value, kind, path)
        return self._text(written, path)

    def _key(self, key: Any, path: Place) -> str:
        kind = type(key)
        if isinstance(key, Enum):
            return self._key(key.value, path)
        if kind is bool:
            return "true" if key else "false"
        if key is None or isinstance(key, _CONTAINERS):
            why = f"has the key {_brief(key)} ({_name(kind)}), which would not come back from JSON"
            raise self.refuse(path, why)
        written = self._plain(key, (path, f"[key {_brief(key)}]"))
        if type(written) is float or type(written) is int:
            return repr(written)
        if type(written) is not str:
            raise self.refuse(path, f"has a key of type {_name(kind)}, which JSON cannot hold")
        return written

    def _text(self, value: str, path: Place) -> str:
        if not value.isascii() and _SURROGATE_PAIR.search(value):
            # As JSON escapes the two would be read as one character.
            raise self.refuse(path, "has two surrogates side by side: it is not valid Unicode text")
        return value

    def _integer(self, value: int, path: Place) -> int:
        if not -_INT_END < value < _INT_END:
            raise self.refuse(path, f"is an integer of more than {MAX_INT_DIGITS} digits")
        return value

    def _number(self, value: float, path: Place) -> float:
        if not isfinite(value):
            raise self.refuse(path, f"is {value}, which JSON cannot hold: use None or a string")
        return value

    def _by_pydantic(self, value: Any, path: Place) -> Any:
        written = json_form(value, self.refuse, path, lambda item: self._plain(item, path))
        return self._final(written, value, path)

    def _final(self, written: Any, value: Any, path: Place) -> Any:
        """A value in JSON form already: checked, or its members still to be looked at."""
        if type(written) is dict or type(written) is list:
            levels = MAX_DEPTH - len(self._open)
            if is_plain_tree(written, self._max_bytes - self._seen, levels):
                return _Ready(written)
        if type(written) is dict:
            return _Fields(written)
        if type(written) is type(value):  # passed through as it was: it has no JSON form
            raise self._unknown(value, type(value), path)
        return written if type(written) is list else self._plain(written, path)

    def _unknown(self, value: Any, kind: type, path: Place) -> SerializationError:
        advice = "pass plain data instead, or register the type with a CodecRegistry"
        if self._registry is not None and self._registry.mistaken_for_value(value):
            advice = "the check of its registration must take a class: use issubclass(cls, ...)"
        return self.refuse(path, f"is a {_name(kind)}, which cannot be written as JSON: {advice}")


_CONTAINERS: Final = (Mapping, list, tuple, set, frozenset, deque)


@lru_cache(maxsize=1024)
def _field_names(kind: type) -> tuple[str, ...] | None:
    """The fields to write of a plain dataclass, None for any other class.

    Without those that ``__init__`` does not take: what ``__post_init__`` derives, it derives
    again when the instance is made.
    """
    if not dataclasses.is_dataclass(kind):
        return None
    if issubclass(kind, (Enum, str, int, *_CONTAINERS)):
        return None
    if any(hasattr(kind, name) for name in PYDANTIC_MARKS):
        return None
    return tuple(field.name for field in dataclasses.fields(kind) if field.init)


def _name(kind: type) -> str:
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return module + kind.__qualname__


def _brief(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a user's __repr__
        return f"<{type(value).__name__}>"
    return text if len(text) <= 60 else text[:57] + "..."


def _shown(path: Place) -> str:
    pieces: list[str] = []
    while path:
        path, piece = path
        if isinstance(piece, tuple):
            piece = json.dumps(list(piece))
        pieces.append(f"[{piece}]" if isinstance(piece, int) else piece)
    shown = "".join(reversed(pieces))
    return shown if len(shown) <= 300 else f"{shown[:150]} ... {shown[-100:]}"
