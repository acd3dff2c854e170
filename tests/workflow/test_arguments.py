"""Payloads become keyword arguments; what does not fit is named."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from grctl.errors import SerializationError
from grctl.workflow import Directive, Workflow
from grctl.workflow.arguments import bind, bind_positional
from grctl.workflow.handler import Handler


@dataclass
class Order:
    id: int
    note: str = ""


def decode(text: str, annotation: Any) -> Any:
    if annotation is Any:
        return json.loads(text)
    try:
        return TypeAdapter(annotation).validate_json(text)
    except ValidationError as error:
        raise SerializationError(error.errors()[0]["msg"]) from error


def handler(fn: Any) -> Handler:
    wf = Workflow("order")
    wf.event()(fn)
    return wf.events[fn.__name__]


async def fn_none(ctx) -> Directive: ...
async def fn_name(ctx, name: str) -> Directive: ...
async def fn_count(ctx, count: int = 7) -> Directive: ...
async def fn_maybe(ctx, name: str | None) -> Directive: ...
async def fn_any(ctx, data: Any) -> Directive: ...
async def fn_dict(ctx, data: dict[str, Any]) -> Directive: ...
async def fn_order(ctx, order: Order) -> Directive: ...
async def fn_two(ctx, name: str, order: Order) -> Directive: ...
async def fn_opt(ctx, name: str, count: int = 7) -> Directive: ...
async def fn_both(ctx, name: str = "", count: int = 7) -> Directive: ...


NONE, NAME, COUNT, MAYBE, ANY, DICT, ORDER, TWO, OPT, BOTH = (
    handler(fn)
    for fn in (
        fn_none,
        fn_name,
        fn_count,
        fn_maybe,
        fn_any,
        fn_dict,
        fn_order,
        fn_two,
        fn_opt,
        fn_both,
    )
)


@pytest.mark.parametrize(
    ("target", "payload", "bound"),
    [
        # No parameters.
        (NONE, None, {}),
        (NONE, "null", {}),
        (NONE, "{}", {}),
        (NONE, " { } ", {}),
        # A single one: the member of its name, or else the whole.
        (NAME, '{"name": "x"}', {"name": "x"}),
        (NAME, '"x"', {"name": "x"}),
        (COUNT, "3", {"count": 3}),
        (COUNT, '{"count": 3}', {"count": 3}),
        (COUNT, None, {}),
        (COUNT, "{}", {}),
        (MAYBE, None, {"name": None}),
        (MAYBE, '{"name": null}', {"name": None}),
        (ANY, "[1, 2]", {"data": [1, 2]}),
        (ANY, '{"other": 1}', {"data": {"other": 1}}),
        (ANY, '{"data": {"data": 1}}', {"data": {"data": 1}}),
        (ANY, None, {"data": None}),
        (DICT, "{}", {"data": {}}),
        (DICT, '{"a": 1}', {"data": {"a": 1}}),
        (ORDER, '{"id": 1}', {"order": Order(1)}),
        (ORDER, '{"order": {"id": 1, "note": "n"}}', {"order": Order(1, "n")}),
        # Several: by name, in any order.
        (TWO, '{"order": {"id": 1}, "name": "x"}', {"order": Order(1), "name": "x"}),
        (TWO, ' {\n"name" : "x" ,\t"order" : {"id": 1} } ', {"name": "x", "order": Order(1)}),
        (OPT, '{"name": "x"}', {"name": "x"}),
        (BOTH, "{}", {}),
        (BOTH, None, {}),
        (OPT, '{"name": "x", "count": 3}', {"name": "x", "count": 3}),
    ],
)
def test_a_payload_becomes_keyword_arguments(
    target: Handler, payload: str | None, bound: dict[str, Any]
) -> None:
    assert bind(target, payload, decode) == bound


@pytest.mark.parametrize(
    ("target", "payload", "message"),
    [
        (NONE, '{"a": 1}', "event 'fn_none' takes no arguments; unknown argument 'a'"),
        (NONE, "3", "event 'fn_none' takes no arguments, not a number"),
        (NAME, None, r"event 'fn_name' takes \(name\); missing argument 'name'"),
        (NAME, "null", "missing argument 'name'"),
        (NAME, "{}", "missing argument 'name'"),
        (NAME, '{"name": "x", "age": 3}', r"takes \(name\); unknown argument 'age'"),
        (TWO, "null", r"takes \(name, order\); missing argument 'name', 'order'"),
        (TWO, "[1, 2]", r"takes \(name, order\), not an array"),
        (TWO, '{"name": "x"}', "missing argument 'order'"),
        (TWO, '{"name": "x", "ordre": {}}', "unknown argument 'ordre'"),
        (OPT, '{"count": 1}', r"takes \(name, \[count\]\); missing argument 'name'"),
    ],
)
def test_a_missing_or_unknown_argument_is_named(
    target: Handler, payload: str | None, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        bind(target, payload, decode)


@pytest.mark.parametrize(
    ("target", "payload", "message"),
    [
        (NAME, "3", "argument 'name' of event 'fn_name': Input should be a valid string"),
        (NAME, '{"name": 3}', "argument 'name' of event 'fn_name': Input should be a valid string"),
        (NAME, '{"nam": "x"}', "argument 'name' .* has no 'name' but 'nam'"),
        (TWO, '{"name": "x", "order": {"id": "y"}}', "argument 'order' of event 'fn_two': "),
        (COUNT, '"many"', "argument 'count' of event 'fn_count': "),
        (NAME, "{", "the payload of event 'fn_name' is no readable JSON"),
        (NAME, '"a" 1', "the payload of event 'fn_name' is no readable JSON"),
        (NAME, "[" * 100_000, "the payload of event 'fn_name' is no readable JSON"),
    ],
)
def test_an_argument_of_the_wrong_type_is_named(
    target: Handler, payload: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        bind(target, payload, decode)


def test_a_boolean_is_not_taken_for_a_number_unasked() -> None:
    asked: list[str] = []

    def strict(text: str, annotation: Any) -> Any:
        asked.append(text)
        raise SerializationError("expected an int, found a bool")

    with pytest.raises(ValueError, match="expected an int, found a bool"):
        bind(COUNT, "true", strict)
    assert asked == ["true"]


@pytest.mark.parametrize("number", ["123456789012345678901234567890", "-0.0", "1e3", "0.1", "5"])
def test_numbers_keep_every_digit(number: str) -> None:
    asked: list[str] = []

    def watch(text: str, annotation: Any) -> Any:
        asked.append(text)
        return json.loads(text)

    bound = bind(ANY, f'{{"data": {number}}}', watch)

    assert asked == [number]
    assert math.copysign(1, bound["data"]) == math.copysign(1, json.loads(number))


@given(
    st.dictionaries(
        st.sampled_from(["name", "order", "x,}", '"', "ключ", ""]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=10,
        ),
    ).filter(lambda payload: len(payload) != 1),
    st.sampled_from([None, 2]),
)
def test_any_object_is_cut_into_its_members(payload: dict[str, Any], indent: int | None) -> None:
    async def take(ctx) -> Directive: ...

    template = handler(take)
    target = Handler(
        template.name,
        template.kind,
        template.fn,
        parameters=tuple(type(ANY.parameters[0])(key, Any) for key in payload),
    )

    bound = bind(target, json.dumps(payload, indent=indent), decode)
    assert bound == payload
    assert list(bound) == list(payload)
    values = json.dumps(list(payload.values()), indent=indent)
    assert bind_positional(target, values, decode) == payload


@pytest.mark.parametrize(
    ("target", "args", "bound"),
    [
        (NONE, None, {}),
        (NONE, "[]", {}),
        (NAME, '["x"]', {"name": "x"}),
        (DICT, '[{"data": 1}]', {"data": {"data": 1}}),
        (OPT, '["x"]', {"name": "x"}),
        (OPT, ' [ "x" , 3 ] ', {"name": "x", "count": 3}),
    ],
)
def test_arguments_may_be_given_by_position(
    target: Handler, args: str | None, bound: dict[str, Any]
) -> None:
    assert bind_positional(target, args, decode) == bound


@pytest.mark.parametrize(
    ("target", "args", "message"),
    [
        (NONE, "[1]", "takes no arguments, but was given 1 arguments"),
        (NAME, "[]", "missing argument 'name'"),
        (NAME, '{"name": "x"}', "takes an array of arguments"),
    ],
)
def test_positional_arguments_that_do_not_fit_are_refused(
    target: Handler, args: str, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        bind_positional(target, args, decode)
