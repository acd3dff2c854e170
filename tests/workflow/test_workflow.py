"""A definition is checked while it is written down."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Any

import pytest

from grctl.models import RetryPolicy
from grctl.workflow import Directive, Workflow
from grctl.workflow.handler import DEFAULT_STEP_TIMEOUT, HandlerKind


async def finish(ctx) -> Directive:
    raise NotImplementedError


async def other(ctx) -> Directive:
    raise NotImplementedError


def order() -> Workflow:
    wf = Workflow("order")
    wf.start()(finish)
    return wf


def test_a_workflow_reads_as_it_was_written() -> None:
    wf = Workflow("order")
    policy = RetryPolicy(max_attempts=3)

    @wf.start(timeout=timedelta(seconds=1))
    async def place(ctx, item: str, amount: int = 1) -> Directive:
        raise NotImplementedError

    @wf.step(timeout=timedelta(seconds=2), retry_policy=policy)
    async def charge(ctx) -> Directive:
        raise NotImplementedError

    @wf.event(name="paid!")
    async def paid(ctx, receipt: str) -> Directive:
        raise NotImplementedError

    @wf.query()
    async def total(ctx) -> int:
        raise NotImplementedError

    @wf.update(name="add")
    async def add_item(ctx, item: str) -> tuple[Directive, int]:
        raise NotImplementedError

    wf.validate()
    assert (wf.workflow_type, wf.start_step_name) == ("order", "place")
    assert (wf.step_names, wf.event_names) == (["charge"], ["paid!"])
    assert (wf.query_names, wf.update_names) == (["total"], ["add"])
    assert list(wf.handlers) == ["place", "charge", "paid!", "add"]
    assert wf.start_handler.fn is place
    assert [(p.name, p.annotation, p.required) for p in wf.start_handler.parameters] == [
        ("item", str, True),
        ("amount", int, False),
    ]
    assert wf.start_handler.parameters[1].default == 1
    assert wf.start_handler.timeout == timedelta(seconds=1)
    assert wf.steps["charge"].timeout == timedelta(seconds=2)
    assert wf.steps["charge"].retry_policy is policy
    assert wf.events["paid!"].timeout == DEFAULT_STEP_TIMEOUT == timedelta(minutes=5)
    assert wf.updates["add"].label == "update 'add'"
    assert (wf.queries["total"].kind, wf.queries["total"].timeout) == (HandlerKind.QUERY, None)
    assert wf.handler_of(paid) is wf.events["paid!"]
    assert wf.handler_of(finish) is None
    assert wf.handler_of([]) is None
    assert repr(wf) == "Workflow('order')"


@pytest.mark.parametrize("name", ["a", "a" * 255, "Bestellung für Ärzte 🛒", " ", "a.b/c:d"])
def test_any_text_up_to_255_characters_names_a_workflow(name: str) -> None:
    assert Workflow(name).workflow_type == name


@pytest.mark.parametrize("name", ["", "a" * 256, None, 5, "a\0b", "\ud800"])
def test_what_cannot_name_a_workflow_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="workflow_type must"):
        Workflow(name)


@pytest.mark.parametrize("name", ["", "a" * 256, 5, "a\0b", "\ud800"])
@pytest.mark.parametrize("decorator", ["event", "query", "update"])
def test_what_cannot_name_a_handler_is_refused(decorator: str, name: Any) -> None:
    with pytest.raises(ValueError, match=f"the name of the {decorator} must"):
        getattr(order(), decorator)(name=name)(other)


def test_a_second_start_handler_is_refused() -> None:
    with pytest.raises(ValueError, match=r"already has the start handler 'finish'.*'other'"):
        order().start()(other)


def test_a_definition_without_a_start_handler_is_incomplete() -> None:
    wf = Workflow("order")

    assert wf.start_step_name is None
    with pytest.raises(ValueError, match="has no start handler"):
        wf.validate()
    with pytest.raises(ValueError, match="has no start handler"):
        _ = wf.start_handler


@pytest.mark.parametrize("decorator", ["step", "event", "update"])
def test_steps_events_and_updates_share_their_names(decorator: str) -> None:
    wf = order()

    with pytest.raises(ValueError, match="the name is taken by the start 'finish'"):
        getattr(wf, decorator)()(finish)

    getattr(wf, decorator)()(other)
    for again in ("step", "event", "update"):
        with pytest.raises(ValueError, match=f"the name is taken by the {decorator} 'other'"):
            getattr(wf, again)()(other)


def test_queries_have_names_of_their_own() -> None:
    wf = order()
    wf.query()(finish)

    assert wf.query_names == ["finish"]
    with pytest.raises(ValueError, match="the name is taken by the query 'finish'"):
        wf.query(name="finish")(other)


def test_a_refused_handler_leaves_no_trace() -> None:
    wf = order()
    with pytest.raises(ValueError, match="taken"):
        wf.event(name="finish")(other)

    assert wf.handler_of(other) is None
    assert list(wf.handlers) == ["finish"]


def test_a_function_that_is_a_step_and_an_event_is_found_as_the_step() -> None:
    wf = order()
    wf.event(name="go")(other)
    wf.step()(other)

    assert wf.handler_of(other) is wf.steps["other"]


@pytest.mark.parametrize("decorator", ["start", "step", "event", "query", "update"])
def test_a_decorator_without_parentheses_says_so(decorator: str) -> None:
    with pytest.raises(TypeError, match=rf"write `@workflow\.{decorator}\(\)`"):
        getattr(Workflow("order"), decorator)(finish)


@pytest.mark.parametrize("decorator", ["start", "step", "event", "update"])
def test_a_timeout_that_cannot_be_kept_is_refused(decorator: str) -> None:
    for timeout in (timedelta(0), timedelta(seconds=-1), timedelta.max):
        with pytest.raises(ValueError, match="timeout must be more than zero"):
            getattr(Workflow("order"), decorator)(timeout=timeout)(other)
    with pytest.raises(TypeError, match="timeout must be a timedelta or None, not int 5"):
        getattr(Workflow("order"), decorator)(timeout=5)(other)


@pytest.mark.parametrize("decorator", ["start", "step", "event", "query", "update"])
def test_a_handler_without_a_name_of_its_own_is_refused(decorator: str) -> None:
    nameless = functools.partial(other)
    with pytest.raises(TypeError, match="has no name of its own"):
        getattr(Workflow("order"), decorator)()(nameless)


@pytest.mark.parametrize("decorator", ["event", "query", "update"])
def test_a_handler_without_a_name_of_its_own_can_be_given_one(decorator: str) -> None:
    wf = Workflow("order")
    getattr(wf, decorator)(name="other")(functools.partial(other))

    assert wf.event_names + wf.query_names + wf.update_names == ["other"]


def test_a_retry_policy_is_one() -> None:
    with pytest.raises(TypeError, match="retry_policy must be a RetryPolicy or None, not int"):
        order().step(retry_policy=3)
