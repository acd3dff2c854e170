"""One tree of errors, each of which survives pickling and says what happened."""

from __future__ import annotations

import inspect
import pickle
from datetime import timedelta

import pytest

import grctl.errors
import grctl.models.errors
from grctl.errors import (
    GrctlError,
    PayloadTooLargeError,
    RetryAfter,
    SerializationError,
    StepFailed,
    StoreKeyNotFoundError,
    TaskError,
    WorkflowAlreadyRunningError,
    WorkflowError,
    WorkflowNotFoundError,
    WorkflowTypeNotRegisteredError,
)
from grctl.models import ErrorDetails

DETAILS = ErrorDetails("ValueError", "no such item", "Traceback ...", "builtins.ValueError")

EXAMPLES: list[GrctlError] = [
    WorkflowError("ValueError: no such item", DETAILS),
    StepFailed("ValueError: no such item", DETAILS, "charge"),
    TaskError("PaymentDeclined", "card expired", DETAILS),
    RetryAfter(timedelta(seconds=3)),
    RetryAfter(timedelta(seconds=3), "rate limited"),
    StoreKeyNotFoundError("total"),
    PayloadTooLargeError("too large"),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_a_pickled_error_is_the_same_error(error: GrctlError) -> None:
    again = pickle.loads(pickle.dumps(error))

    assert type(again) is type(error)
    assert (str(again), repr(again)) == (str(error), repr(error))
    assert (again.args, vars(again)) == (error.args, vars(error))


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_made_without_its_constructor_can_be_read(error: GrctlError) -> None:
    again = type(error).__new__(type(error))
    again.args = error.args

    assert str(again) == str(error)
    assert getattr(again, "details", None) is None
    assert getattr(again, "step_name", "") == ""


def test_every_public_error_is_in_the_tree_and_in_its_docstring() -> None:
    for name in grctl.errors.__all__:
        error = getattr(grctl.errors, name)
        assert issubclass(error, GrctlError)
        assert name in (grctl.errors.__doc__ or "")
        assert inspect.getdoc(error)
        assert getattr(grctl.models.errors, name) is error


@pytest.mark.parametrize(
    "error",
    [
        StepFailed,
        WorkflowNotFoundError,
        WorkflowAlreadyRunningError,
        WorkflowTypeNotRegisteredError,
    ],
)
def test_a_refused_request_is_a_workflow_error(error: type[Exception]) -> None:
    assert issubclass(error, WorkflowError)


def test_errors_are_also_what_python_would_raise() -> None:
    assert issubclass(SerializationError, ValueError)
    assert issubclass(PayloadTooLargeError, SerializationError)
    assert issubclass(StoreKeyNotFoundError, KeyError)


def test_a_missing_key_reads_as_a_sentence() -> None:
    error = StoreKeyNotFoundError("total")

    assert error.key == "total"
    assert str(error) == "the store has no key 'total'"


def test_a_task_error_names_the_class_that_was_not_found() -> None:
    error = TaskError("PaymentDeclined", "card expired", DETAILS)

    assert (error.type, error.message, error.details) == (
        "PaymentDeclined",
        "card expired",
        DETAILS,
    )
    assert str(error) == "PaymentDeclined: card expired"
    assert str(TaskError("PaymentDeclined")) == "PaymentDeclined"


def test_retry_after_takes_no_delay_into_the_past() -> None:
    assert RetryAfter(timedelta(0)).delay == timedelta(0)
    with pytest.raises(ValueError, match="zero or more"):
        RetryAfter(timedelta(seconds=-1))
    with pytest.raises(TypeError, match="takes a timedelta, not int"):
        RetryAfter(3)
