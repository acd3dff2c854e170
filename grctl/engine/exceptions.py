"""Errors across a replay: what is recorded of one, and its equal made again.

``restore(capture(error))`` has the type, the args, the text and the attributes of ``error``, so
that ``except PaymentDeclined as e: e.code`` works the same on both paths. Classes are looked up
among the modules already imported and made without their ``__init__``. Nothing here raises, however
broken the error is.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import ValidationError

from grctl.engine.codec import Codec
from grctl.engine.exception_validation import made_validation_error, validation_attributes
from grctl.engine.exception_values import (
    MAX_BYTES,
    NotRecordable,
    Recording,
    find_class,
    qualified_name,
    revived,
)
from grctl.errors import SerializationError, TaskError
from grctl.models.error_details import ErrorDetails

__all__ = ["capture", "comes_back", "details_from_json", "details_to_json", "restore"]

_CUT: Final = "\n... (cut) ...\n"
_LOCALS: Final = "<locals>"
_MAX_NESTED: Final = 8
_MAX_SHOWN_ERRORS: Final = 1000
_COST_OF_ERROR: Final = 64  # of the budget, in values: so that at most a thousand are recorded
_VALUES: Final = Codec(max_bytes=MAX_BYTES)
# Data that the built-in errors keep outside ``args`` and ``__dict__``, and that can be set again.
_BUILT_IN_FIELDS: Final[dict[type[BaseException], tuple[str, ...]]] = {
    ImportError: ("name", "path"),
    NameError: ("name",),
    AttributeError: ("name",),
}


def capture(error: BaseException) -> ErrorDetails:
    """What is recorded of an error: type, message, traceback text, args and attributes.

    Message and traceback text are kept to 64 KiB each. Args that cannot be written, or are larger
    than that together, are replaced by the message; such attributes are left out.
    """
    try:
        details = _captured(error, _Members().recording)
        return replace(details, stack_trace=_stack_trace(error, details.message))
    except Exception:  # noqa: BLE001 - nothing about a user's error can be relied on
        return ErrorDetails(type=type(error).__name__, message=_message(error))


def restore(details: ErrorDetails) -> Exception:
    """The error that was recorded; a TaskError where its class is not imported or not to be made.

    Only subclasses of Exception are made: SystemExit and its like come back as a TaskError.
    """
    try:
        made = _restored(details)
    except Exception:  # noqa: BLE001 - a user's class can refuse to be made in any way
        made = None
    return TaskError(details.type, details.message, details) if made is None else made


def comes_back(error: BaseException, restored: BaseException) -> bool:
    """Whether ``restored``, made of what was recorded of ``error``, has all that it has."""
    try:
        return (
            type(restored) is type(error)
            and _args(restored) == _args(error)
            and dict(_attributes(restored)).keys() == dict(_attributes(error)).keys()
        )
    except Exception:  # noqa: BLE001 - whatever a user's value does when it is compared
        return False


def details_to_json(details: ErrorDetails, codec: Codec) -> str:
    """The JSON text of the details. What cannot be written, or is too large, is left out."""
    shown = details.to_dict()
    for kept in (shown, {**shown, "args": (), "attributes": {}}):
        with contextlib.suppress(SerializationError):
            return codec.encode(kept, what="error")
    text = {key: _cut(_text_of(value), 1000) for key, value in shown.items() if key[0] != "a"}
    return json.dumps(text)


def details_from_json(text: str) -> ErrorDetails:
    """The details of a JSON text; a text that is none of ours becomes the message."""
    try:
        return ErrorDetails.from_dict(json.loads(text))
    except Exception:  # noqa: BLE001 - written by hand, or by something else
        return ErrorDetails(type="UnreadableError", message=_cut(text))


class _Members:
    """The errors inside an error (of a group, in its args): recorded too, down to some levels."""

    def __init__(self) -> None:
        self.recording = Recording(self._form, budget=MAX_BYTES)
        self._levels = _MAX_NESTED

    def _form(self, error: Exception) -> dict[str, Any]:
        self.recording.spend(_COST_OF_ERROR)
        if self._levels == 0:
            raise NotRecordable
        self._levels -= 1
        try:
            return _captured(error, self.recording).to_dict()
        finally:
            self._levels += 1


def _captured(error: BaseException, recording: Recording) -> ErrorDetails:
    """All but the traceback."""
    kind = type(error)
    message = _message(error)
    if isinstance(error, ValidationError):
        args: tuple[Any, ...] = ()
        attributes = validation_attributes(error, recording)
    else:
        args = _recorded_args(_args(error), message, recording)
        attributes = _recorded_attributes(dict(_attributes(error)), recording)
    return ErrorDetails(
        type=kind.__name__,
        message=message,
        qualified_type=qualified_name(kind),
        args=args,
        attributes=attributes,
    )


def _message(error: BaseException) -> str:
    try:
        return _cut(str(error))
    except Exception:  # noqa: BLE001 - a user's __str__
        return f"<unprintable {type(error).__name__}>"


def _text_of(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _cut(text: str, limit: int = MAX_BYTES) -> str:
    """Text that can be stored: at most ``limit`` bytes, surrogate pairs as the character meant.

    The middle is what is cut: both ends of a traceback or a message tell the most.
    """
    text = str.__str__(text)
    if text.isascii() and len(text) <= limit:
        return text
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) <= limit:
        return text
    half = (limit - len(_CUT)) // 2
    # Of a character that is cut in two nothing is kept: its bytes are the invalid ones.
    return raw[:half].decode("utf-8", "ignore") + _CUT + raw[-half:].decode("utf-8", "ignore")


def _stack_trace(error: BaseException, message: str) -> str:
    try:
        if _is_legible(error):
            return _cut("".join(traceback.format_exception(error)))
        own = "".join(traceback.format_tb(error.__traceback__))
        return _cut(f"{own}{type(error).__name__}: {message}")
    except Exception:  # noqa: BLE001 - a chain of causes too long, a broken __repr__ ...
        return f"{type(error).__name__}: {message}"


def _is_legible(error: BaseException) -> bool:
    """Whether causes and members are few enough to be shown: Python would walk through them all,
    those that are members of several groups again and again.
    """
    waiting: list[BaseException] = [error]
    for _ in range(_MAX_SHOWN_ERRORS):
        if not waiting:
            return True
        one = waiting.pop()
        waiting.extend(other for other in (one.__cause__, one.__context__) if other is not None)
        if isinstance(one, BaseExceptionGroup):
            waiting.extend(one.exceptions)
    return False


def _args(error: BaseException) -> tuple[Any, ...]:
    # From the base class: a user's class may have a property of that name.
    args: tuple[Any, ...] = BaseException.args.__get__(error)  # type: ignore[attr-defined]
    if isinstance(error, OSError) and len(args) == 2 and error.filename is not None:
        named = (*args, error.filename)
        return named if error.filename2 is None else (*named, None, error.filename2)
    return args


def _attributes(error: BaseException) -> Iterator[tuple[str, Any]]:
    with contextlib.suppress(Exception):
        yield from list(vars(error).items())
    for cls in type(error).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        names = [slots] if isinstance(slots, str) else list(slots)
        for name in [*names, *_BUILT_IN_FIELDS.get(cls, ())]:
            full = f"_{cls.__name__.lstrip('_')}{name}" if _is_mangled(name) else name
            with contextlib.suppress(Exception):
                yield full, getattr(error, full)


def _is_mangled(name: str) -> bool:
    return name.startswith("__") and not name.endswith("__")


def _recorded_args(args: tuple[Any, ...], message: str, recording: Recording) -> tuple[Any, ...]:
    try:
        written = recording.of(list(args))
        _VALUES.encode(written)
    except Exception:  # noqa: BLE001 - whatever a user's value does when it is looked at
        return (message,)
    return tuple(written)


def _recorded_attributes(attributes: Mapping[str, Any], recording: Recording) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    room = MAX_BYTES
    for name, value in attributes.items():
        with contextlib.suppress(Exception):
            written = recording.of(value)
            room_left = room - len(_VALUES.encode({name: written}))
            if room_left >= 0:
                kept[name], room = written, room_left
    return kept


def _restored(details: ErrorDetails) -> Exception | None:
    cls = _exception_class(details)
    if cls is None:
        return None

    if cls is ValidationError:
        return made_validation_error(details.attributes, _error_from)
    args = tuple(revived(list(details.args), _error_from))
    made = _made(cls, args)
    for name, plain in details.attributes.items():
        with contextlib.suppress(Exception):  # an attribute of a class not imported here, say
            _set(made, name, revived(plain, _error_from))
    return made


def _error_from(plain: Mapping[str, Any]) -> Exception:
    return restore(ErrorDetails.from_dict(plain))


def _exception_class(details: ErrorDetails) -> type[Exception] | None:
    name = details.qualified_type
    if not name:
        return None
    found = _local_class(name) if _LOCALS in name else find_class(name)
    if found is None or not issubclass(found, Exception):
        return None
    # Something else may bear that name by now: a class must still be called what was recorded.
    return found if found.__name__ == details.type else None


def _local_class(name: str) -> type | None:
    """A class made inside a function, if exactly one of that name is alive."""
    matches: dict[type, None] = {}
    seen: set[type] = set()
    waiting: list[type] = [Exception]
    cls: type
    while waiting:
        for cls in type.__subclasses__(waiting.pop()):
            if cls not in seen:
                seen.add(cls)
                waiting.append(cls)
                if qualified_name(cls) == name:
                    matches[cls] = None
    return next(iter(matches)) if len(matches) == 1 else None


def _made(cls: type[Exception], args: tuple[Any, ...]) -> Exception:
    try:
        made = cls.__new__(cls, *args)
    except Exception:  # noqa: BLE001 - a __new__ of its own, with other parameters
        made = None
    if type(made) is not cls:
        made = BaseException.__new__(cls, *args)
    # A built-in class fills its fields (errno, reason, value ...) in its own __init__; the user's
    # __init__, which may do anything, is not called.
    built_in = next(base for base in cls.__mro__ if base.__module__ == "builtins")
    with contextlib.suppress(Exception):
        built_in.__init__(made, *args)  # type: ignore[misc]  # on purpose not the class's own
    if not isinstance(made, OSError):  # which keeps two of its args, and the rest in fields
        BaseException.args.__set__(made, args)  # type: ignore[attr-defined]
    return made


def _set(error: Exception, name: str, value: Any) -> None:
    """Set what was read from a slot through its slot, all else past any property of the class."""
    slot = inspect.getattr_static(type(error), name, None)
    is_pythons = name.startswith("__")  # __dict__, __class__: an attribute of such a name is odd
    if inspect.ismemberdescriptor(slot) or (inspect.isgetsetdescriptor(slot) and not is_pythons):
        object.__setattr__(error, name, value)
    else:
        vars(error)[name] = value
