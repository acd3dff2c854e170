"""User types the codec does not know: how they become plain values, and come back.

A registration applies by class, the same way in both directions: by the value's class when it is
written, by the annotation when it is read.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

__all__ = ["CodecRegistry", "Registration"]

# Their JSON form is the definition of JSON here; a check never sees them, so that a loose check
# (``lambda cls: True``) cannot change what a plain value means.
_NEVER_OFFERED = frozenset({str, int, float, bool, type(None), list, dict})


@dataclass(frozen=True, slots=True)
class Registration:
    """One registered kind of class."""

    check: Callable[[type], bool]
    encode: Callable[[Any], Any]
    decode: Callable[..., Any]
    decode_takes_class: bool

    def read(self, cls: type, data: Any) -> Any:
        """The instance of ``cls`` that the plain value ``data`` stands for."""
        return self.decode(cls, data) if self.decode_takes_class else self.decode(data)


class CodecRegistry:
    """The types a user adds to the codec; give it to ``Codec(registry=...)``.

    Example::

        registry = CodecRegistry()
        registry.register(
            lambda cls: issubclass(cls, Money),
            lambda money: {"amount": str(money.amount), "currency": money.currency},
            lambda cls, data: cls(Decimal(data["amount"]), data["currency"]),
        )
    """

    def __init__(self) -> None:
        self._registrations: list[Registration] = []
        self._found: WeakKeyDictionary[type, Registration | None] = WeakKeyDictionary()
        self.version = 0
        """Grows with each registration: who caches by class drops its cache when this moves."""

    def __len__(self) -> int:
        return len(self._registrations)

    def register(
        self,
        check: Callable[[type], bool],
        encode: Callable[[Any], Any],
        decode: Callable[..., Any],
    ) -> None:
        """Add a type. The last registration whose check agrees wins, also over the built-in forms.

        ``check(cls)`` gets a *class*, never a value: the class of a value that is written, or the
        class that an annotation asks for. ``encode(value)`` returns anything that the codec can
        write. ``decode(cls, data)`` gets the class and the plain JSON value and returns the
        instance; a decode that requires one argument only is called as ``decode(data)``.

        str, int, float, bool, None, list and dict themselves (not their subclasses) are never
        offered to a check. Without an annotation a value is read as plain JSON.

        Raises TypeError when one of the three cannot be called.
        """
        for name, function in (("check", check), ("encode", encode), ("decode", decode)):
            if not callable(function):
                raise TypeError(f"{name} must be callable, not {type(function).__name__}")
        entry = Registration(check, encode, decode, _requires_two(decode))
        self._registrations.insert(0, entry)
        self._found.clear()
        self.version += 1

    def find(self, cls: type) -> Registration | None:
        """The registration that applies to this class, None where there is none."""
        if cls in _NEVER_OFFERED:
            return None
        try:
            return self._found[cls]
        except KeyError:
            pass
        found = next((entry for entry in self._registrations if entry.check(cls)), None)
        self._found[cls] = found
        return found

    def mistaken_for_value(self, value: Any) -> bool:
        """Whether a check agrees with this value although it disagrees with its class.

        Only asked when a value cannot be written, to say so in the error: such a check was
        written for values (``isinstance``), and would find nothing again when reading.
        """
        for entry in self._registrations:
            try:
                if entry.check(value):
                    return True
            except Exception:  # noqa: BLE001, S112 - a user's check, given what it was not made for
                continue
        return False


def _requires_two(decode: Callable[..., Any]) -> bool:
    """Whether a call needs two positional arguments: ``Fraction``, which may take two, does not."""
    try:
        parameters = inspect.signature(decode).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters if p.kind in positional and p.default is p.empty]
    return len(required) >= 2
