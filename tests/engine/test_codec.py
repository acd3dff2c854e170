"""JSON text: what is written, what is refused, and that it is the same in every process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grctl.engine.codec import Codec, is_plain, same_json
from grctl.errors import PayloadTooLargeError, SerializationError

codec = Codec()

# Hypothesis makes no surrogates unless asked; two of them side by side are refused (see below).
texts = st.text() | st.text(st.characters(categories=["Cs"]), max_size=1) | st.just("a\x00b")
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=30
)
anything = st.recursive(
    scalars
    | st.binary()
    | st.floats()
    | st.decimals()
    | st.datetimes()
    | st.timedeltas()
    | st.uuids()
    | st.complex_numbers()
    | st.builds(object)
    | st.text(st.characters(categories=["Cs", "L"])),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(scalars | st.binary() | st.tuples(scalars), inner)
        | st.lists(inner).map(tuple)
        | st.frozensets(scalars)
    ),
    max_leaves=20,
)


@given(json_values)
def test_any_json_value_comes_back_the_same(value: Any) -> None:
    text = codec.encode(value)
    back = codec.decode(text)
    assert repr(back) == repr(value)  # so that -0.0, 1 and 1.0, and the order of keys count
    assert codec.decode(text, Any) == value
    text.encode()  # no lone surrogate is left for asyncpg to trip over
    assert "\x00" not in text


@given(anything)
def test_whatever_is_given_only_a_serialization_error_comes_out(value: Any) -> None:
    try:
        text = codec.encode(value)
    except SerializationError:
        return
    assert codec.encode(value) == text
    codec.decode(text)


@given(st.text(max_size=50), st.sampled_from([None, int, str, list[int], dict[str, bytes]]))
def test_whatever_text_is_read_only_a_serialization_error_comes_out(text: str, kind: Any) -> None:
    try:
        codec.decode(text, kind)
    except SerializationError:
        return


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (7, "7"),
        (10**30, "1" + "0" * 30),
        (-0.0, "-0.0"),
        ("é\n\x00", '"é\\n\\u0000"'),
        ("\ud800", '"\\ud800"'),
        ({"b": 1, "a": [1.5, None]}, '{"b":1,"a":[1.5,null]}'),
        ((1, "x"), '[1,"x"]'),
        ({3, 1, 2}, "[1,2,3]"),
        (frozenset({"b", "a"}), '["a","b"]'),
        (deque([2, 1]), "[2,1]"),
        (OrderedDict(z=1, a=2), '{"z":1,"a":2}'),
        (b"\xff\x00", '"/wA="'),
        (datetime(2024, 2, 29, 12, 0, 0, 1, tzinfo=UTC), '"2024-02-29T12:00:00.000001+00:00"'),
        (Decimal("1.50"), '"1.50"'),
        ({UUID(int=1): 1.0}, '{"00000000-0000-0000-0000-000000000001":1.0}'),
    ],
)
def test_the_text_is_readable_json(value: Any, text: str) -> None:
    assert codec.encode(value) == text


@dataclass
class Order:
    items: list[Any]


def cycle() -> list[Any]:
    ring: list[Any] = []
    ring.append({"again": (ring,)})
    return ring


def ring_of_objects() -> Order:
    order = Order([])
    order.items.append(order)
    return order


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "place", "why"),
    [
        ({"items": [1, {"x": float("nan")}]}, 'result["items"][1]["x"]', "is nan"),
        (Order([float("inf")]), "result.items[0]", "is inf"),
        (Decimal("NaN"), "result", "NaN"),
        ({"items": [0, threading.Lock()]}, 'result["items"][1]', "lock"),
        ([lambda: None], "result[0]", "function"),
        ({"cls": int}, 'result["cls"]', "is a type"),
        ({"gen": (x for x in [1])}, 'result["gen"]', "generator"),
        (object(), "result", "is a object"),
        ({1: "a", "1": "b"}, "result", 'two keys that are both written as "1"'),
        ({None: 1}, "result", "has the key None"),
        ({(1, 2): 1}, "result", "has the key (1, 2)"),
        (cycle(), 'result[0]["again"][0]', "contains itself"),
        (ring_of_objects(), "result.items[0]", "contains itself"),
        (["\ud83d" + "\ude00"], "result[0]", "surrogates"),
        ([10**4300], "result[0]", "more than 4300 digits"),
    ],
)
def test_what_would_not_come_back_is_refused_with_its_place(
    value: Any, place: str, why: str
) -> None:
    with pytest.raises(SerializationError) as caught:
        codec.encode(value, what="result")
    assert str(caught.value).startswith(place + " ")
    assert why in str(caught.value)


def test_an_open_file_is_refused_by_its_type(tmp_path: Any) -> None:
    with (
        (tmp_path / "f").open("w") as file,
        pytest.raises(SerializationError, match=r'input\["f"\] is a _io\.TextIOWrapper'),
    ):
        codec.encode({"f": file}, what="input")


def test_a_coroutine_is_refused() -> None:
    async def work() -> None: ...

    coroutine = work()
    with pytest.raises(SerializationError, match="coroutine"):
        codec.encode(coroutine)
    coroutine.close()


@pytest.mark.parametrize("mixed", [False, True])
def test_nesting_goes_to_200_levels_and_not_further(*, mixed: bool) -> None:
    def value(levels: int) -> Any:
        deep = nested(levels)
        if mixed:  # something at the bottom that needs the closer look
            inner = deep
            while inner:
                inner = inner[0]
            inner.append((1,))
        return deep

    levels = 199 if mixed else 200
    text = codec.encode(value(levels))
    assert codec.encode(codec.decode(text)) == text
    assert codec.decode(text, list[Any]) == codec.decode(text)
    for too_deep in (levels + 1, 5000):
        with pytest.raises(SerializationError, match="deeper than 200 levels"):
            codec.encode(value(too_deep))


def test_the_largest_ints_come_back() -> None:
    for value in (10**4300 - 1, -(10**4300) + 1):
        assert codec.decode(codec.encode({"n": value})) == {"n": value}
        assert codec.decode(codec.encode(value), int) == value


def test_a_payload_over_the_limit_names_what_and_how_large() -> None:
    small = Codec(max_bytes=100)
    assert small.encode("x" * 98)
    for value in ("x" * 99, ["x" * 97], {"a": b"x" * 80}, [1, (2,)] * 50):
        with pytest.raises(PayloadTooLargeError) as caught:
            small.encode(value, what="result of task charge")
        assert str(caught.value).startswith("result of task charge ")
        assert "100 bytes" in str(caught.value)
        assert "max_payload_bytes" in str(caught.value)
    with pytest.raises(ValueError, match="at least 32"):
        Codec(max_bytes=1)


@pytest.mark.parametrize("leaf", [1, (1,)])
def test_a_value_that_shares_its_members_is_refused_before_it_fills_the_memory(leaf: Any) -> None:
    value: Any = [leaf]
    for _ in range(60):
        value = [value, value]
    with pytest.raises(PayloadTooLargeError):
        Codec(max_bytes=10_000).encode(value)


def test_the_same_value_gives_the_same_text_in_every_process() -> None:
    program = (
        "from grctl.engine.codec import Codec\n"
        "from pydantic import BaseModel\n"
        "class Tags(BaseModel):\n    tags: set[str]\n    deep: frozenset[frozenset[str]]\n"
        "words = [str(n) for n in range(50)]\n"
        "print(Codec().encode([set(words), {'k': frozenset(words)}, Tags(tags=set(words),"
        " deep=frozenset(frozenset([w, w + 'x']) for w in words))]))\n"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(texts) == 1


def test_unreadable_text_is_a_clear_error() -> None:
    with pytest.raises(SerializationError, match="payload is not readable JSON"):
        codec.decode("{", what="payload")
    with pytest.raises(SerializationError):
        codec.decode("9" * 5000)
    with pytest.raises(SerializationError):
        codec.decode("[" * 100_000)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ('{"a":1,"b":[2]}', '{"b": [2], "a": 1}', True),
        ("[1]", "[1.0]", False),
        ("[1]", "[true]", False),
        ("0.0", "-0.0", False),
        ("1e2", "100.0", True),
        ('{"a":1}', '{"a":1,"b":2}', False),
        ('"\\ud800"', '"\\uD800"', True),
        ("{", "{", True),
        ("{", "[", False),
    ],
)
def test_same_json_ignores_the_order_of_keys_only(a: str, b: str, same: bool) -> None:
    assert same_json(a, b) is same


@given(json_values)
def test_same_json_agrees_with_another_writer(value: Any) -> None:
    assert same_json(codec.encode(value), json.dumps(value, indent=1))


def test_plain_scalars_are_those_that_decoding_gives_back() -> None:
    class Text(str):
        __slots__ = ()

    assert all(is_plain(value) for value in (None, True, 1, "x", 1.5))
    assert not any(is_plain(value) for value in ([], {}, b"", Text("x"), float("nan")))
    assert is_plain(1, int)
    assert not is_plain(1, float)
