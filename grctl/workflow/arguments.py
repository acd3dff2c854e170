"""Arguments: the JSON of an input or payload becomes the keyword arguments of a handler.

Each value is cut out of the text as it stands and converted on its own, so that numbers keep every
digit and an error can name the one argument that is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from json import JSONDecoder
from typing import Any, NamedTuple

from grctl.errors import SerializationError
from grctl.workflow.handler import Handler
from grctl.workflow.signature import Parameter

__all__ = ["Decode", "bind", "bind_positional"]

Decode = Callable[[str, Any], Any]
"""JSON text and an annotation in, the typed value out; SerializationError where it does not fit."""

_raw_decode = JSONDecoder().raw_decode
_skip = re.compile(r"[ \t\n\r]*").match
_AS_THEY_ARE = (str, int, bool)
_NAMES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class _Member(NamedTuple):
    """A value of the payload: as plain JSON, and the text it was read from."""

    value: Any
    text: str


def bind(handler: Handler, payload_json: str | None, decode: Decode) -> dict[str, Any]:
    """The keyword arguments of a handler for a payload; those left to their default are left out.

    An object gives each parameter the member of its name. With a single parameter, an object that
    has its name gives that member, and anything else is the value itself. No payload and ``null``
    are the same: no arguments. Raises TypeError for a missing or unknown argument, ValueError for
    one of the wrong type; both name handler and argument.
    """
    parameters = handler.parameters
    if not parameters and payload_json in (None, "null", "{}"):
        return {}
    payload = _whole(handler, payload_json)
    if payload.value is None:
        return _bind_nothing(handler, decode)
    if len(parameters) == 1 and not _names(payload.value, parameters[0]):
        return _bind_whole(handler, payload, decode)
    if not isinstance(payload.value, dict):
        raise TypeError(f"{_expected(handler)}, not {_NAMES[type(payload.value)]}")
    return _bind_members(handler, payload, decode)


def bind_positional(handler: Handler, args_json: str | None, decode: Decode) -> dict[str, Any]:
    """The keyword arguments of a handler for a JSON array of arguments, in order of parameters.

    Raises like ``bind``; more arguments than parameters are a TypeError.
    """
    if args_json in (None, "null", "[]"):
        members = []
    else:
        whole = _whole(handler, args_json)
        if not isinstance(whole.value, list):
            raise TypeError(f"{handler.label} takes an array of arguments, not {whole.text[:40]}")
        members = list(_items(whole.text))
    parameters = handler.parameters
    if len(members) > len(parameters):
        raise TypeError(f"{_expected(handler)}, but was given {len(members)} arguments")
    bound = {
        parameter.name: _convert(handler, parameter, member, decode)
        for parameter, member in zip(parameters, members, strict=False)
    }
    _check_missing(handler, bound)
    return bound


def _bind_nothing(handler: Handler, decode: Decode) -> dict[str, Any]:
    required = [parameter for parameter in handler.parameters if parameter.required]
    if len(handler.parameters) == 1 and required:
        try:
            return {required[0].name: decode("null", required[0].annotation)}
        except SerializationError:
            pass  # None is no value of its type, so that it was not given at all
    _check_missing(handler, {})
    return {}


def _bind_whole(handler: Handler, payload: _Member, decode: Decode) -> dict[str, Any]:
    (parameter,) = handler.parameters
    try:
        return {parameter.name: _convert(handler, parameter, payload, decode)}
    except ValueError as error:
        if payload.value == {}:
            _check_missing(handler, {})
            return {}
        if isinstance(payload.value, dict):
            keys = ", ".join(repr(key) for key in list(payload.value)[:10])
            raise ValueError(  # noqa: TRY004  the same error, told better
                f"{error} (the payload has no {parameter.name!r} but {keys}, "
                "so that all of it was taken as the value)"
            ) from error.__cause__
        raise


def _bind_members(handler: Handler, payload: _Member, decode: Decode) -> dict[str, Any]:
    given: dict[str, Any] = payload.value
    named = {each.name: each for each in handler.parameters if each.name in given}
    if len(named) < len(given):
        unknown = [key for key in given if key not in named]
        raise TypeError(f"{_expected(handler)}; unknown argument {_listed(unknown)}")
    if len(named) < len(handler.parameters):
        _check_missing(handler, given)
    for key, parameter in named.items():
        if not _as_it_is(given[key], parameter.annotation):
            break
    else:
        return given  # the common case; the text need not be cut
    return {
        key: _convert(handler, named[key], member, decode) for key, member in _members(payload.text)
    }


def _convert(handler: Handler, parameter: Parameter, member: _Member, decode: Decode) -> Any:
    annotation = parameter.annotation
    if _as_it_is(member.value, annotation):
        return member.value
    try:
        return decode(member.text, annotation)
    except SerializationError as error:
        raise ValueError(f"argument {parameter.name!r} of {handler.label}: {error}") from error


def _as_it_is(value: Any, annotation: Any) -> bool:
    return type(value) is annotation and annotation in _AS_THEY_ARE


def _check_missing(handler: Handler, given: dict[str, Any]) -> None:
    missing = [p.name for p in handler.parameters if p.required and p.name not in given]
    if missing:
        raise TypeError(f"{_expected(handler)}; missing argument {_listed(missing)}")


def _names(value: Any, parameter: Parameter) -> bool:
    return isinstance(value, dict) and parameter.name in value


def _expected(handler: Handler) -> str:
    names = ", ".join(p.name if p.required else f"[{p.name}]" for p in handler.parameters)
    return f"{handler.label} takes {f'({names})' if names else 'no arguments'}"


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names[:10])


def _whole(handler: Handler, payload_json: str | None) -> _Member:
    text = "null" if payload_json is None else payload_json.strip()
    try:
        value, end = _raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the payload of {handler.label} is no readable JSON: {error}") from error
    if end != len(text):
        raise ValueError(f"the payload of {handler.label} is no readable JSON: text after its end")
    return _Member(value, text)


def _members(text: str) -> Iterator[tuple[str, _Member]]:
    """The members of an object of which it is known that it is well formed."""
    position = _end(text, 1)
    while text[position] != "}":
        key, position = _raw_decode(text, position)
        position = _end(text, position) + 1  # past the colon
        member, position = _value(text, position)
        yield key, member
        position = _past_comma(text, position)


def _items(text: str) -> Iterator[_Member]:
    """The items of an array of which it is known that it is well formed."""
    position = _end(text, 1)
    while text[position] != "]":
        member, position = _value(text, position)
        yield member
        position = _past_comma(text, position)


def _value(text: str, position: int) -> tuple[_Member, int]:
    begin = _end(text, position)
    value, end = _raw_decode(text, begin)
    return _Member(value, text[begin:end]), _end(text, end)


def _past_comma(text: str, position: int) -> int:
    return _end(text, position + 1) if text[position] == "," else position


def _end(text: str, position: int) -> int:
    """The next position that is no white space."""
    matched = _skip(text, position)
    return position if matched is None else matched.end()
