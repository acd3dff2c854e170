"""What an error carries (``args``, attributes) as plain JSON values that know their own type.

An error's fields have no annotations, so that what JSON cannot tell apart is written as
``{"$type": "decimal", "value": "1.50"}``. What cannot be written so is left out by the caller:
``NotRecordable`` is raised for it.
"""

from __future__ import annotations

import base64
import math
import sys
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

from grctl.engine.codec import MAX_INT_DIGITS, Codec

__all__ = ["MAX_BYTES", "NotRecordable", "Recording", "find_class", "qualified_name", "revived"]

_TAG: Final = "$type"
_MAX_LEVELS: Final = 20
_INT_END: Final = 10**MAX_INT_DIGITS
MAX_BYTES: Final = 64 * 1024
"""What is kept of a message, of a traceback, of all args and of all attributes (each), in bytes."""

_CODEC: Final = Codec(max_bytes=MAX_BYTES)  # for instances of the user's data classes

_AS_TEXT: Final[dict[type, tuple[str, Callable[[Any], str], Callable[[str], Any]]]] = {
    bytes: ("bytes", lambda v: base64.b64encode(v).decode("ascii"), base64.b64decode),
    datetime: ("datetime", datetime.isoformat, datetime.fromisoformat),
    date: ("date", date.isoformat, date.fromisoformat),
    time: ("time", time.isoformat, time.fromisoformat),
    UUID: ("uuid", str, UUID),
    Decimal: ("decimal", str, Decimal),
}
_FROM_TEXT: Final = {tag: read for tag, _, read in _AS_TEXT.values()}
_SEQUENCES: Final[dict[type, str]] = {tuple: "tuple", set: "set", frozenset: "frozenset"}
_FROM_ITEMS: Final[dict[str, type]] = {tag: kind for kind, tag in _SEQUENCES.items()}


class NotRecordable(Exception):  # noqa: N818 - it says what is the matter, and never gets out
    """This value cannot be written so that its equal comes back."""


class Recording:
    """Values of one error on their way to plain form, within a budget.

    ``error_form`` gives the plain form of an error among the values; it may spend from the same
    budget. The budget bounds the work where values share members (a list of the same list ...).
    """

    def __init__(self, error_form: Callable[[Exception], Any], budget: int) -> None:
        self._error_form = error_form
        self.budget = budget

    def spend(self, units: int) -> None:
        """Take from the budget. Raises NotRecordable where nothing is left."""
        self.budget -= units
        if self.budget < 0:
            raise NotRecordable

    def of(self, value: Any, levels: int = _MAX_LEVELS) -> Any:
        """The tagged plain form. Raises NotRecordable, or what a user's value gives rise to."""
        self.spend(1)
        kind = type(value)
        if value is None or kind is bool:
            return value
        if isinstance(value, (str, int, float)) and not isinstance(value, Enum):
            return _scalar(value)
        if levels == 0:
            raise NotRecordable
        if kind in _AS_TEXT:
            tag, write, _ = _AS_TEXT[kind]
            return _tagged(tag, write(value))
        if kind is timedelta:
            return _tagged("timedelta", [value.days, value.seconds, value.microseconds])
        return self._container(value, kind, levels - 1)

    def _container(self, value: Any, kind: type, levels: int) -> Any:
        if kind is list:
            return [self.of(item, levels) for item in value]
        if kind is dict:
            if _TAG not in value and all(type(key) is str for key in value):
                return {key: self.of(item, levels) for key, item in value.items()}
            pairs = [[self.of(key, levels), self.of(item, levels)] for key, item in value.items()]
            return _tagged("dict", pairs)
        if kind in _SEQUENCES:
            return _tagged(_SEQUENCES[kind], [self.of(item, levels) for item in value])
        if isinstance(value, Exception):
            return _tagged("error", self._error_form(value))
        return _instance(value, kind)


def _scalar(value: Any) -> Any:
    """As the plain type: of a subclass only what it says is kept."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        plain = float(value)
        return plain if math.isfinite(plain) else _tagged("float", repr(plain))
    if not -_INT_END < value < _INT_END:
        raise NotRecordable
    return int(value)


def _instance(value: Any, kind: type) -> Any:
    """A member of an Enum, or an instance of a class that the codec can write and read."""
    if find_class(qualified_name(kind)) is not kind:
        raise NotRecordable
    if isinstance(value, Enum):
        if kind.__members__.get(value.name) is not value:  # type: ignore[attr-defined]
            raise NotRecordable  # a combination of flags
        return _tagged("enum", [qualified_name(kind), value.name])
    text = _CODEC.encode(value)
    if _CODEC.decode(text, kind) != value:
        raise NotRecordable
    return {_TAG: "instance", "class": qualified_name(kind), "value": _CODEC.decode(text)}


def _tagged(tag: str, value: Any) -> dict[str, Any]:
    return {_TAG: tag, "value": value}


def revived(plain: Any, error_from: Callable[[Mapping[str, Any]], Any]) -> Any:
    """The reverse of ``Recording.of``; ``error_from`` makes the error of an error's form.

    Raises whatever a form that was not made by it gives rise to.
    """
    if isinstance(plain, list):
        return [revived(item, error_from) for item in plain]
    if not isinstance(plain, Mapping):
        return plain
    tag = plain.get(_TAG)
    if tag is None:
        return {key: revived(item, error_from) for key, item in plain.items()}
    value = plain["value"]
    if tag in _FROM_TEXT:
        return _FROM_TEXT[tag](value)
    if tag in _FROM_ITEMS:
        return _FROM_ITEMS[tag](revived(item, error_from) for item in value)
    return _SPECIAL[tag](plain, error_from)


def _revived_enum(plain: Mapping[str, Any], _: Any) -> Any:
    name, member = plain["value"]
    return _class(name, Enum)[member]  # type: ignore[index]  # an Enum, as asked


def _revived_instance(plain: Mapping[str, Any], _: Any) -> Any:
    return _CODEC.decode(_CODEC.encode(plain["value"]), _class(plain["class"], object))


_SPECIAL: Final[dict[str, Callable[[Mapping[str, Any], Any], Any]]] = {
    "float": lambda plain, _: float(plain["value"]),
    "timedelta": lambda plain, _: timedelta(*plain["value"]),
    "dict": lambda plain, error_from: {
        revived(key, error_from): revived(item, error_from) for key, item in plain["value"]
    },
    "error": lambda plain, error_from: error_from(plain["value"]),
    "enum": _revived_enum,
    "instance": _revived_instance,
}


def _class(name: str, base: type) -> type:
    found = find_class(name)
    if found is None or not issubclass(found, base):
        raise LookupError(name)
    return found


def qualified_name(kind: type) -> str:
    """Module and name of a class, as ``find_class`` takes them: ``shop.errors.PaymentDeclined``."""
    return f"{kind.__module__}.{kind.__qualname__}"


def find_class(qualified: str) -> type | None:
    """The class of this name among the modules already imported; nothing is ever imported.

    A class made inside a function has no such name and is not found. Module and class contents
    are read as they lie, so that no module's ``__getattr__`` can import on our behalf.
    """
    parts = qualified.split(".")
    for end in range(len(parts) - 1, 0, -1):
        module = sys.modules.get(".".join(parts[:end]))
        if module is None:
            continue
        found: Any = module
        for part in parts[end:]:
            found = getattr(found, "__dict__", {}).get(part)
        if isinstance(found, type):
            return found
    return None
