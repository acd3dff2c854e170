"""pydantic's ValidationError across a replay: it has no args, and pydantic alone can make one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from grctl.engine.codec import Codec
from grctl.engine.exception_values import MAX_BYTES, Recording, revived

__all__ = ["made_validation_error", "validation_attributes"]

_FITS = Codec(max_bytes=MAX_BYTES)


def validation_attributes(error: ValidationError, recording: Recording) -> dict[str, Any]:
    """What is needed to make the same error again, in plain form; nothing if it does not fit."""
    lines: list[dict[str, Any]] = []
    for one in error.errors(include_url=False):
        line: dict[str, Any] = {"type": one["type"], "loc": list(one["loc"]), "msg": one["msg"]}
        for name in ("input", "ctx"):
            with contextlib.suppress(Exception):
                line[name] = recording.of(one.get(name))
        lines.append(line)
    attributes = {"title": error.title, "errors": lines}
    try:
        _FITS.encode(attributes)
    except ValueError:
        return {}
    return attributes


def made_validation_error(
    attributes: Mapping[str, Any], error_from: Callable[[Mapping[str, Any]], Any]
) -> ValidationError:
    """The error of these attributes. Raises whatever unsuitable ones give rise to."""
    lines = [
        {**line, "loc": tuple(line["loc"]), "input": revived(line.get("input"), error_from)}
        for line in attributes["errors"]
    ]
    try:
        made = _made(attributes["title"], [_known(line, error_from) for line in lines])
    except (KeyError, TypeError, ValueError):  # an error type of the user's, or of a newer pydantic
        made = _made(attributes["title"], [_custom(line) for line in lines])
    made.args = ()  # pydantic leaves its constructor's arguments there
    return made


def _made(title: str, lines: list[Any]) -> ValidationError:
    return ValidationError.from_exception_data(title, lines)


def _known(line: Mapping[str, Any], error_from: Callable[[Mapping[str, Any]], Any]) -> Any:
    known = {name: line[name] for name in ("type", "loc", "input")}
    context = revived(line.get("ctx"), error_from)
    return {**known, "ctx": context} if context else known


def _custom(line: Mapping[str, Any]) -> Any:
    kind = PydanticCustomError(line["type"], line["msg"])
    return {"type": kind, "loc": line["loc"], "input": line["input"]}
