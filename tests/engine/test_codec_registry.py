"""Types a user registers: by class in both directions, at any depth, the last one wins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from grctl.engine.codec import Codec, CodecRegistry
from grctl.errors import SerializationError


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return self.cents


class Euro(Money):
    pass


@dataclass
class Invoice:
    total: Money
    parts: dict[str, list[Money | None]]


class Basket(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    total: Money


def is_money(cls: type) -> bool:
    return issubclass(cls, Money)


@pytest.fixture
def codec() -> Codec:
    registry = CodecRegistry()
    registry.register(is_money, lambda money: {"cents": money.cents}, make_money)
    return Codec(registry)


def make_money(cls: type, data: Any) -> Any:
    return cls(data["cents"])


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (Money(5), Money),
        (Euro(5), Euro),
        ([Money(5)], list[Money]),
        ({"a": Euro(1)}, dict[str, Euro | None]),
        ((1, Money(2)), tuple[int, Money]),
        (Invoice(Money(1), {"x": [Euro(2), None][1:]}), Invoice),
        ([Invoice(Money(1), {"x": [Money(2), None]})], list[Invoice]),
        (Basket(total=Money(3)), Basket),
        ([Basket(total=Money(3))], list[Basket]),
    ],
)
def test_a_registered_type_comes_back_at_any_depth(
    codec: Codec, value: Any, annotation: Any
) -> None:
    assert codec.decode(codec.encode(value), annotation) == value


def test_without_an_annotation_it_is_plain_json(codec: Codec) -> None:
    assert codec.decode(codec.encode([Money(5)])) == [{"cents": 5}]


def test_the_last_registration_wins_also_over_one_in_use(codec: Codec) -> None:
    assert codec.decode(codec.encode(Money(5)), list[Money] | Money) == Money(5)
    assert codec.registry is not None
    codec.registry.register(is_money, lambda money: money.cents, lambda cls, data: cls(data * 10))
    assert codec.encode(Money(5)) == "5"
    assert codec.decode("5", list[Money] | Money) == Money(50)


def test_a_registration_wins_over_the_built_in_form() -> None:
    registry = CodecRegistry()
    registry.register(
        lambda cls: cls is datetime, lambda v: v.timestamp(), lambda data: ("at", data)
    )
    registry.register(lambda cls: cls is Invoice, lambda v: "invoice", lambda cls, data: data)
    codec = Codec(registry)
    epoch = datetime.fromtimestamp(0, UTC)
    assert codec.decode(codec.encode([epoch]), list[datetime]) == [("at", 0.0)]
    assert codec.decode(codec.encode([Invoice(Money(1), {})]), list[Invoice]) == ["invoice"]


def test_a_decode_with_one_required_argument_gets_the_data_alone() -> None:
    registry = CodecRegistry()
    registry.register(lambda cls: cls is Fraction, str, Fraction)
    codec = Codec(registry)
    assert codec.decode(codec.encode(Fraction(1, 3)), Fraction) == Fraction(1, 3)


def test_plain_values_are_never_offered_to_a_check() -> None:
    registry = CodecRegistry()
    registry.register(lambda cls: True, lambda value: "changed", lambda data: data)
    codec = Codec(registry)
    plain = ["a", 1, 1.5, True, None, {"b": []}]
    assert codec.decode(codec.encode(plain)) == plain
    assert codec.decode(codec.encode(plain), list[Any]) == plain


def test_a_check_written_for_values_is_pointed_out() -> None:
    registry = CodecRegistry()
    registry.register(lambda value: isinstance(value, Money), lambda v: v.cents, Money)
    with pytest.raises(SerializationError, match="check of its registration must take a class"):
        Codec(registry).encode(Money(1))


def test_an_encode_that_fails_or_does_not_help_is_a_clear_error() -> None:
    registry = CodecRegistry()
    registry.register(is_money, lambda money: money, make_money)
    with pytest.raises(SerializationError, match=r"value\[0\] is still a .*Money"):
        Codec(registry).encode([Money(1)])
    registry.register(is_money, lambda money: money.nothing, make_money)
    with pytest.raises(SerializationError, match=r"value\[0\] could not be encoded"):
        Codec(registry).encode([Money(1)])


def test_what_cannot_be_called_is_no_registration() -> None:
    with pytest.raises(TypeError, match="decode must be callable"):
        CodecRegistry().register(is_money, str, None)  # type: ignore[arg-type]
