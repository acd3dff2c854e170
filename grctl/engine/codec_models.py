"""pydantic models and dataclasses as JSON values: their own serializers and config decide.

Written under field names, which are read back whatever aliases the model has, without computed
fields. What pydantic would let come back changed is refused: masked secrets, NaN turned to null.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache
from math import isfinite
from typing import Any, Final

from pydantic import Secret, SecretBytes, SecretStr, TypeAdapter

from grctl.engine.codec_text import sorted_by_text
from grctl.errors import GrctlError, SerializationError

__all__ = ["IF_SECRET", "PYDANTIC_MARKS", "SECRETS", "json_form"]

PYDANTIC_MARKS: Final = (
    "__pydantic_serializer__",
    "__get_pydantic_core_schema__",
    "__pydantic_config__",
)
"""A class that has one of these is written the way pydantic writes it."""

SECRETS: Final = (Secret, SecretStr, SecretBytes)
IF_SECRET: Final = "it would be stored masked and never come back; store a reference to it"  # noqa: S105

Refuse = Callable[[tuple[Any, ...], str], SerializationError]

# The parts of a core schema whose JSON form says all that there is to know.
_TELLING: Final = frozenset(
    {"bool", "bytes", "date", "datetime", "default", "definition-ref", "definitions", "dict"}
    | {"float", "int", "list", "literal", "model", "model-field", "model-fields", "none"}
    | {"nullable", "str", "time", "timedelta", "tuple", "union", "uuid"}
)
_NO_SCHEMA: Final = frozenset({"metadata", "default", "config", "expected", "cls"})


def json_form(
    value: Any, refuse: Refuse, path: tuple[Any, ...], fallback: Callable[[Any], Any]
) -> Any:
    """The JSON form of a model, or of another class that brings its own pydantic schema.

    ``fallback`` writes what pydantic does not know inside of it; ``refuse(place, why)`` makes
    the error, raised where something cannot be written or would not come back.
    """
    kind: Any = type(value)
    common: dict[str, Any] = {"by_alias": False, "round_trip": True, "warnings": False}
    common["fallback"] = fallback
    try:
        serializer = getattr(kind, "__pydantic_serializer__", None) or _adapter(kind).serializer
        written = serializer.to_python(value, mode="json", **common)
        if _says_all_in_json(kind):
            return written
        # The python form shows what the JSON form hides: sets, secrets, NaN.
        shape = serializer.to_python(value, mode="python", **common)
    except GrctlError:
        raise
    except Exception as error:
        place = _faulty_field(value, kind, common)
        why = f"({kind.__module__}.{kind.__qualname__}) cannot be written as JSON: {error}"
        raise refuse((path, place) if place else path, why) from error
    return _settled(written, shape, refuse, path)


def _faulty_field(value: Any, kind: type, common: dict[str, Any]) -> str:
    for name in getattr(kind, "__pydantic_fields__", {}):
        try:
            value.__pydantic_serializer__.to_python(value, mode="json", include={name}, **common)
        except Exception:  # noqa: BLE001 - the error is on its way; this only finds its place
            return f".{name}"
    return ""


def _settled(written: Any, shape: Any, refuse: Refuse, path: tuple[Any, ...]) -> Any:
    """The JSON form with sets in order, or refused where it does not say the value."""
    if isinstance(shape, SECRETS) and isinstance(written, str) and set(written) <= {"*"}:
        raise refuse(path, f"is a {type(shape).__name__}: {IF_SECRET}")
    if isinstance(shape, float) and written is None and not isfinite(shape):
        raise refuse(path, f"is {shape}, which JSON cannot hold: use None or a string")
    if not isinstance(written, (dict, list)):
        return written
    if isinstance(shape, (set, frozenset)):
        example = next(iter(shape), None)  # one stands for all: the order may differ by now
        place = (path, "{...}")
        return sorted_by_text([_settled(item, example, refuse, place) for item in written])
    if isinstance(written, dict) and isinstance(shape, Mapping) and len(written) == len(shape):
        pairs = zip(written.items(), shape.values(), strict=True)
        return {
            key: _settled(item, inner, refuse, (path, f".{key}")) for (key, item), inner in pairs
        }
    if isinstance(shape, (list, tuple, deque)) and len(written) == len(shape):
        both = enumerate(zip(written, shape, strict=True))
        return [_settled(item, inner, refuse, (path, index)) for index, (item, inner) in both]
    return written


@lru_cache(maxsize=1024)
def _says_all_in_json(kind: type) -> bool:
    """Whether a model's JSON form hides nothing: no set, secret or custom serializer in it."""
    schema = getattr(kind, "__pydantic_core_schema__", None)
    return isinstance(schema, dict) and _is_telling(schema)


def _is_telling(node: Any) -> bool:
    if isinstance(node, dict):
        kind = node.get("type")
        if isinstance(kind, str) and (kind not in _TELLING or "serialization" in node):
            return False
        return all(_is_telling(item) for key, item in node.items() if key not in _NO_SCHEMA)
    return not isinstance(node, (list, tuple)) or all(map(_is_telling, node))


@lru_cache(maxsize=256)
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
