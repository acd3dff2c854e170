"""attrs classes and ``msgspec.Struct``: their fields out, their instances back.

Neither package is ever imported here: a value or an annotation of theirs can only exist where the
user has imported it, and then it is in ``sys.modules``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, get_type_hints

__all__ = ["attrs_fields", "build_attrs", "build_struct", "is_attrs", "is_struct", "struct_fields"]


def is_attrs(cls: type) -> bool:
    """Whether this is an attrs class."""
    return "__attrs_attrs__" in vars(cls) or (
        sys.modules.get("attr") is not None and hasattr(cls, "__attrs_attrs__")
    )


def attrs_fields(value: Any) -> dict[str, Any]:
    """The fields of an attrs instance by name. AttributeError if one was never set."""
    fields: Any = type(value).__attrs_attrs__
    return {field.name: getattr(value, field.name) for field in fields}


def build_attrs(cls: type, data: Any, read: Callable[[Any, Any], Any]) -> Any:
    """The attrs instance for ``data``; ``read(plain, annotation)`` makes each field's value.

    Missing fields get their defaults, unknown ones are left out, as pydantic does it.
    Raises TypeError or ValueError when ``data`` does not fit.
    """
    if not isinstance(data, dict):
        raise ValueError(  # noqa: TRY004 - pydantic places ValueErrors in the whole value
            f"expected an object for {cls.__name__}, found {type(data).__name__}"
        )
    hints = get_type_hints(cls, include_extras=True)
    given: dict[str, Any] = {}
    derived: dict[str, Any] = {}
    fields: Any = cls.__attrs_attrs__  # type: ignore[attr-defined]  # is_attrs(cls) was asked
    for field in fields:
        if field.name not in data:
            continue
        value = read(data[field.name], hints.get(field.name, Any))
        if field.init:
            given[field.alias] = value
        else:
            derived[field.name] = value
    try:
        made = cls(**given)
    except TypeError as error:
        raise ValueError(str(error)) from error
    for name, value in derived.items():
        object.__setattr__(made, name, value)
    return made


def is_struct(cls: type) -> bool:
    """Whether this is a ``msgspec.Struct``."""
    msgspec = sys.modules.get("msgspec")
    return msgspec is not None and issubclass(cls, msgspec.Struct)


def struct_fields(value: Any) -> dict[str, Any] | list[Any]:
    """What msgspec itself would write for a Struct: renamed fields, tag, array form."""
    msgspec: Any = sys.modules["msgspec"]
    cls: Any = type(value)
    config = cls.__struct_config__
    items = [
        (encoded, getattr(value, name))
        for name, encoded in zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True)
    ]
    if config.array_like:
        values = [item for _, item in items]
        return values if config.tag is None else [config.tag, *values]
    fields = {name: item for name, item in items if item is not msgspec.UNSET}
    return fields if config.tag is None else {config.tag_field: config.tag, **fields}


def build_struct(cls: type, data: Any, read: Callable[[Any, Any], Any]) -> Any:
    """The Struct for ``data``; ``read(plain, annotation)`` makes what msgspec does not know.

    Raises ValueError (``msgspec.ValidationError``) when ``data`` does not fit.
    """
    msgspec: Any = sys.modules["msgspec"]

    def unknown(wanted: type, plain: Any) -> Any:
        return read(plain, wanted)

    return msgspec.convert(data, cls, str_keys=True, dec_hook=unknown)
