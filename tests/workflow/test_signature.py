"""What is wrong with a signature is said at decoration; text annotations resolve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pytest

from grctl.workflow import Directive, Workflow

if TYPE_CHECKING:
    from somewhere import Context, Unknown

T = TypeVar("T")


class ChildOutcome(Generic[T]):
    """Stands for the worker's class of this name, which is above this layer."""


@dataclass
class Item:
    name: str


def annotations(fn: Any) -> list[Any]:
    wf = Workflow("order")
    wf.start()(fn)
    return [parameter.annotation for parameter in wf.start_handler.parameters]


def test_text_annotations_resolve() -> None:
    async def place(ctx: Context, item: Item, items: list[Item], text: "str | None") -> Directive:  # noqa: UP037
        raise NotImplementedError

    assert annotations(place) == [Item, list[Item], str | None]


def test_what_ctx_is_annotated_with_is_never_looked_at() -> None:
    async def place(ctx: Unknown.name[1]) -> Directive:
        raise NotImplementedError

    assert annotations(place) == []


def test_a_local_class_is_found_where_the_handler_is_decorated() -> None:
    wf = Workflow("order")

    @dataclass
    class Local:
        name: str

    @wf.start()
    async def place(ctx: Context, item: Local, items: list[Local]) -> Directive:
        raise NotImplementedError

    assert [p.annotation for p in wf.start_handler.parameters] == [Local, list[Local]]


def test_a_class_that_the_handler_closes_over_is_found_from_anywhere() -> None:
    def made() -> Any:
        class Local:
            pass

        async def place(ctx: Context, item: Local) -> Directive:
            return Local

        return place, Local

    place, local = made()
    assert annotations(place) == [local]


def test_a_name_defined_later_is_resolved_when_it_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wf = Workflow("order")

    @wf.start()
    async def place(ctx: Context, item: Later) -> Directive:  # noqa: F821
        raise NotImplementedError

    (parameter,) = wf.start_handler.parameters
    with pytest.raises(TypeError, match="'Later' of parameter 'item' of start 'place'"):
        _ = parameter.annotation

    monkeypatch.setitem(globals(), "Later", Item)
    assert parameter.annotation is Item


def test_an_annotation_that_is_no_type_expression_is_refused_at_once() -> None:
    async def place(ctx: Context, item: int) -> Directive:
        raise NotImplementedError

    place.__annotations__["item"] = "list[int"
    with pytest.raises(TypeError, match="of parameter 'item' of start 'place'"):
        Workflow("order").start()(place)


async def with_args(ctx, *things: int) -> Directive: ...
async def with_kwargs(ctx, **things: int) -> Directive: ...
async def bare(ctx, item) -> Directive: ...
async def positional(ctx, item: int, /) -> Directive: ...
async def nothing() -> Directive: ...
async def only_args(*ctx: Any) -> Directive: ...
async def keyword(*, ctx: Any) -> Directive: ...
async def forgotten(item: str) -> Directive: ...
def plain(ctx) -> Directive: ...
async def generator(ctx) -> Any:
    yield


@pytest.mark.parametrize("decorator", ["start", "step", "event", "query", "update"])
@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (with_args, r"'with_args' of Workflow\('order'\) must not take \*things"),
        (with_kwargs, r"'with_kwargs' of Workflow\('order'\) must not take \*\*things"),
        (bare, r"parameter 'item' of \w+ 'bare' .* has no annotation"),
        (positional, r"parameter 'item' of \w+ 'positional' .* must not be positional-only"),
        (nothing, r"'nothing' .* must take `ctx` as its first parameter"),
        (only_args, r"'only_args' .* must not take \*ctx"),
        (keyword, r"'keyword' .* must take `ctx` as its first parameter"),
        (forgotten, r"'forgotten' .* must take `ctx` .*, not 'item' annotated with str"),
        (plain, r"must be an `async def` function, not the plain function 'plain'"),
        (generator, r"must be an `async def` function, not an async generator"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_signature_that_cannot_be_called_is_refused(
    decorator: str, fn: Any, message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        getattr(Workflow("order"), decorator)()(fn)


@pytest.mark.parametrize(
    "annotation", [ChildOutcome[int], ChildOutcome, ChildOutcome[int] | None, "ChildOutcome[int]"]
)
def test_a_step_may_take_the_outcome_of_a_child(annotation: Any) -> None:
    async def after(ctx, outcome) -> Directive:
        raise NotImplementedError

    after.__annotations__["outcome"] = annotation
    wf = Workflow("order")
    wf.step()(after)

    outcome = wf.steps["after"].outcome_parameter
    assert outcome is not None
    assert outcome.name == "outcome"


async def step_with_input(ctx, item: str) -> Directive: ...
async def step_with_more(ctx, outcome: ChildOutcome[int], item: str) -> Directive: ...


@pytest.mark.parametrize("fn", [step_with_input, step_with_more])
def test_a_step_takes_nothing_else(fn: Any) -> None:
    with pytest.raises(TypeError, match=r"takes only ctx, but has the parameter 'item'.*ctx.store"):
        Workflow("order").step()(fn)


def test_a_step_that_takes_only_ctx_has_no_outcome_parameter() -> None:
    wf = Workflow("order")

    @wf.step()
    async def charge(ctx: Context) -> Directive:
        raise NotImplementedError

    assert wf.steps["charge"].outcome_parameter is None
