"""Errors across a replay: the one that is made again equals the one that was raised."""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import ModuleType
from typing import Any, Self
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from grctl.engine.codec import Codec
from grctl.engine.exceptions import capture, details_from_json, details_to_json, restore
from grctl.errors import RetryAfter, StepFailed, StoreKeyNotFoundError, TaskError
from grctl.models.error_details import ErrorDetails

codec = Codec()


class Reason(enum.Enum):
    FUNDS = "funds"


@dataclass
class Charge:
    amount: Decimal


class PaymentDeclinedError(Exception):
    made = 0

    def __init__(self, code: str, *, reason: Reason, charge: Charge | None = None) -> None:
        type(self).made += 1
        super().__init__(f"declined: {code}")
        self.code = code
        self.reason = reason
        self.charge = charge
        self.at = datetime(2024, 1, 1, tzinfo=UTC)


class SlottedError(Exception):
    __slots__ = ("__hidden", "code")

    def __init__(self, code: int) -> None:
        self.code = code
        self.__hidden = (code, "x")

    def hidden(self) -> Any:
        return self.__hidden


class ReadOnlyError(Exception):
    @property
    def args_seen(self) -> int:
        return len(self.args)


class OwnNewError(Exception):
    def __new__(cls, a: int, *, b: int = 0) -> Self:
        return super().__new__(cls, a, b)

    def __init__(self, a: int, *, b: int = 0) -> None:
        super().__init__(a, b)


class OwnOSError(OSError):
    def __init__(self, host: str) -> None:
        super().__init__(f"no route to {host}")
        self.host = host


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


class HostileError(Exception):
    """Whatever is looked at raises."""

    @property
    def args(self) -> Any:  # type: ignore[override]
        raise RuntimeError

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class Form(BaseModel):
    n: int
    word: str = ""

    @field_validator("word")
    @classmethod
    def known(cls, word: str) -> str:
        if word == "bad":
            raise ValueError("no such word")
        if word == "worse":
            raise PydanticCustomError("worse", "{word} is worse", {"word": word})
        return word


def raised_by(function: Callable[[], Any]) -> BaseException:
    with pytest.raises(BaseException) as caught:
        function()
    return caught.value


def again(error: BaseException) -> Exception:
    """What a replay raises: by way of the database's text."""
    return restore(details_from_json(details_to_json(capture(error), codec)))


def assert_same(back: BaseException, error: BaseException) -> None:
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert repr(back.args) == repr(error.args)
    assert repr(vars(back)) == repr(vars(error))


ERRORS: list[Callable[[], BaseException]] = [
    lambda: PaymentDeclinedError("c1", reason=Reason.FUNDS, charge=Charge(Decimal("1.50"))),
    lambda: SlottedError(3),
    lambda: ReadOnlyError(1, 2),
    lambda: OwnNewError(1, b=2),
    lambda: OwnOSError("db"),
    lambda: raised_by(lambda: open("/no/such/file")),  # noqa: PTH123, SIM115
    lambda: OSError(2, "two files", "a", None, "b"),
    lambda: raised_by(lambda: {}["key"]),
    lambda: raised_by(b"\xff".decode),
    lambda: raised_by(lambda: "\ud800".encode()),  # noqa: PLW0108
    lambda: raised_by(lambda: compile("1 +", "f", "eval")),
    lambda: raised_by(lambda: int("x")),
    lambda: raised_by(lambda: Form(n="x", word="bad")),  # type: ignore[arg-type]
    lambda: raised_by(lambda: Form(n=1, word="worse")),
    lambda: raised_by(lambda: Form.model_validate({})),
    TimeoutError,
    lambda: StopIteration(4),
    lambda: ImportError("no", name="n", path="p"),
    lambda: ExceptionGroup("g", [ValueError(1), PaymentDeclinedError("c", reason=Reason.FUNDS)]),
    lambda: RuntimeError("outer", ValueError("inner")),
    lambda: RetryAfter(timedelta(seconds=3), "later"),
    lambda: TaskError("A", "b"),
    lambda: StoreKeyNotFoundError("k"),
    lambda: StepFailed("m", step_name="s"),
    lambda: ValueError("\ud800\x00"),
    lambda: ValueError((1, {2}), b"\xff", UUID(int=1), float("nan"), {1: 2}, {"$type": "x"}, 1.5),
]


@pytest.mark.parametrize("make", ERRORS)
def test_the_error_of_a_replay_equals_the_one_that_was_raised(
    make: Callable[[], BaseException],
) -> None:
    error = make()
    assert_same(again(error), error)


def test_attributes_have_their_types_and_init_is_not_called() -> None:
    error = PaymentDeclinedError("c1", reason=Reason.FUNDS, charge=Charge(Decimal("1.50")))
    made = PaymentDeclinedError.made
    back = again(error)
    assert isinstance(back, PaymentDeclinedError)
    assert PaymentDeclinedError.made == made
    assert (back.code, back.reason, back.charge, back.at) == (
        error.code,
        error.reason,
        error.charge,
        error.at,
    )


def test_fields_outside_args_and_dict_come_back() -> None:
    slotted = again(SlottedError(3))
    assert isinstance(slotted, SlottedError)
    assert (slotted.code, slotted.hidden()) == (3, (3, "x"))
    missing = again(raised_by(lambda: open("/no/such/file")))  # noqa: PTH123, SIM115
    assert isinstance(missing, FileNotFoundError)
    assert (missing.errno, missing.filename) == (2, "/no/such/file")
    renamed = again(OSError(2, "two files", "a", None, "b"))
    assert isinstance(renamed, OSError)
    assert (renamed.filename, renamed.filename2) == ("a", "b")
    absent = again(ImportError("no", name="n", path="p"))
    assert isinstance(absent, ImportError)
    assert (absent.name, absent.path) == ("n", "p")
    form = again(raised_by(lambda: Form.model_validate({})))
    assert isinstance(form, ValidationError)
    assert form.errors()[0]["loc"] == ("n",)


def test_members_of_a_group_can_be_caught_one_by_one() -> None:
    try:
        raise again(ExceptionGroup("g", [PaymentDeclinedError("c", reason=Reason.FUNDS)]))
    except* PaymentDeclinedError as group:
        (member,) = group.exceptions
        assert isinstance(member, PaymentDeclinedError)
        assert member.code == "c"


def test_notes_and_causes_are_kept_in_the_text() -> None:
    error = ValueError("outer")
    error.__cause__ = KeyError("the cause")
    error.add_note("a note")
    details = capture(error)
    assert "the cause" in details.stack_trace
    assert "a note" in details.stack_trace
    back = restore(details)
    assert back.__notes__ == ["a note"]
    assert back.__cause__ is None


def test_a_class_that_is_not_imported_becomes_a_task_error_and_is_not_imported() -> None:
    name = "wave"  # a module that nothing here imports
    assert name not in sys.modules
    details = ErrorDetails("Error", "boom", "trace", f"{name}.Error", ("boom",))
    back = restore(details)
    assert isinstance(back, TaskError)
    assert (back.type, back.message, back.details) == ("Error", "boom", details)
    assert name not in sys.modules


def test_a_lazy_module_is_not_made_to_import() -> None:
    module = ModuleType("lazy_for_this_test")
    module.__getattr__ = lambda name: pytest.fail("asked")  # type: ignore[method-assign]
    sys.modules[module.__name__] = module
    try:
        assert isinstance(restore(ErrorDetails("E", "", "", "lazy_for_this_test.E")), TaskError)
    finally:
        del sys.modules[module.__name__]


@pytest.mark.parametrize(
    ("type_name", "qualified"),
    [
        ("SystemExit", "builtins.SystemExit"),
        ("CancelledError", "asyncio.exceptions.CancelledError"),
        ("Popen", "subprocess.Popen"),
        ("system", "os.system"),
        ("ValueError", "builtins.KeyError"),
        ("", ""),
        ("X", "..."),
    ],
)
def test_only_an_exception_of_that_very_name_is_made(type_name: str, qualified: str) -> None:
    back = restore(ErrorDetails(type_name, "m", "", qualified, ("m",)))
    assert type(back) is TaskError
    assert back.type == type_name


def test_a_class_made_inside_a_function_is_found_while_it_is_the_only_one() -> None:
    def make() -> type[Exception]:
        class LocalError(Exception):
            pass

        return LocalError

    first = make()
    assert type(again(first("x"))) is first
    second = make()
    assert type(again(second("x"))) is TaskError


def test_a_cancelled_group_becomes_a_task_error() -> None:
    back = again(BaseExceptionGroup("g", [KeyboardInterrupt()]))
    assert isinstance(back, TaskError)
    assert back.type == "BaseExceptionGroup"


def test_args_that_cannot_be_written_are_replaced_by_the_message() -> None:
    error = ValueError(object())
    error.lock = object()  # type: ignore[attr-defined]
    error.code = 7  # type: ignore[attr-defined]
    back = again(error)
    assert type(back) is ValueError
    assert back.args == (str(error),)
    assert vars(back) == {"code": 7}


@pytest.mark.parametrize("text", ["x" * 200_000, "é" * 200_000, "\U0001f600" * 100_000])
def test_a_message_is_kept_to_64_kib(text: str) -> None:
    details = capture(raised_by(lambda: exec("raise ValueError(text)", {"text": text})))
    for kept in (details.message, details.stack_trace):
        assert 60_000 < len(kept.encode()) <= 65_536
    assert len(details_to_json(details, codec)) < 1_000_000
    back = restore(details)
    assert type(back) is ValueError
    assert back.args == (details.message,)


def test_nothing_raises_however_broken_the_error_is() -> None:
    ring: list[Any] = []
    ring.append(ring)
    shared: list[Any] = [1]
    for _ in range(50):
        shared = [shared, shared]
    laden = ValueError("laden")
    laden.shared = shared  # type: ignore[attr-defined]
    deep: Exception = ValueError("bottom")
    group: Exception = ValueError("bottom")
    for _ in range(3000):
        outer = ValueError("outer")
        outer.__cause__ = deep
        deep = outer
    for _ in range(30):
        group = ExceptionGroup("g", [group, group])
    first, second = ValueError(1), ValueError(2)
    first.__cause__, second.__cause__ = second, first
    nameless = type("Nameless", (Exception,), {"__module__": None})
    errors: list[BaseException] = [
        UnprintableError("x"),
        HostileError("x"),
        ValueError(ring),
        laden,
        deep,
        group,
        first,
        nameless("x"),
        ValueError(first, second),
        KeyError("\ud83d" + "\ude00"),
        ValueError(10**5000),
    ]
    for error in errors:
        details = capture(error)
        assert details.type == type(error).__name__
        back = again(error)
        assert isinstance(back, (type(error), TaskError))


def test_details_that_cannot_be_written_lose_what_is_in_the_way() -> None:
    details = ErrorDetails("E", "message", args=(object(),), attributes={"a": float("nan")})
    assert details_from_json(details_to_json(details, codec)) == ErrorDetails("E", "message")
    small = Codec(max_bytes=100)
    long = ErrorDetails("E", "m" * 5000, args=(1,))
    kept = details_from_json(details_to_json(long, small))
    assert kept.type == "E"
    assert kept.message.startswith("mmm")


def test_a_text_that_is_none_of_ours_becomes_the_message() -> None:
    for text in ("{", "[1]", "null", "3"):
        assert details_from_json(text).message == text


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.datetimes().map(lambda moment: moment.replace(fold=0))  # ISO 8601 does not say it
    | st.times().map(lambda moment: moment.replace(fold=0))
    | st.timedeltas()
    | st.uuids()
    | st.sampled_from(Reason),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.just("$type"), inner)
        | st.frozensets(st.integers(), max_size=1)  # compared by repr
    ),
    max_leaves=15,
)


@given(
    st.lists(values, max_size=4),
    st.dictionaries(st.text(max_size=8).filter(lambda name: name != "args"), values, max_size=4),
)
@example([], {"__dict__": None})
@example([], {"__class__": "x", "__cause__": 1})
def test_any_args_and_attributes_come_back(args: list[Any], attributes: dict[str, Any]) -> None:
    error = ReadOnlyError(*args)
    vars(error).update(attributes)
    assert_same(again(error), error)


@given(st.builds(ErrorDetails, st.text(), st.text(), st.text(), st.text(), st.tuples(values)))
def test_any_details_restore_to_an_exception(details: ErrorDetails) -> None:
    assert isinstance(restore(details), Exception)
