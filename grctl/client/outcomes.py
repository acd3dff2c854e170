"""What a waiter sees of a run's end."""

from __future__ import annotations

import asyncio
import json

from grctl.engine.exceptions import details_from_json
from grctl.errors import StepFailed, WorkflowError
from grctl.models.error_details import ErrorDetails
from grctl.models.run import RunStatus

__all__ = ["RemoteTraceback", "outcome_error", "read_error"]


class RemoteTraceback(Exception):  # noqa: N818 - never raised, only shown
    """Where a handler raised: the cause of the error that its caller gets.

    ``summary`` is the error's type and message as the handler's worker had them.
    """

    def __init__(self, details: ErrorDetails) -> None:
        super().__init__(details.stack_trace)
        self.summary = f"{details.type}: {details.message}" if details.message else details.type

    def __str__(self) -> str:
        return f"raised on a worker:\n\n{self.args[0]}"


def read_error(text: str | None) -> tuple[ErrorDetails | None, str | None]:
    """The column ``runs.error``: its details, and the step whose failure it is (if it is one)."""
    if text is None:
        return None, None
    stored = json.loads(text)
    if "step" in stored:
        return details_from_json(json.dumps(stored["error"])), stored["step"]
    return details_from_json(text), None


def outcome_error(
    status: RunStatus, details: ErrorDetails | None, step_name: str | None = None
) -> BaseException | None:
    """The exception of a run that ended without a result; None for one that completed."""
    match status:
        case RunStatus.COMPLETED | RunStatus.CONTINUED:
            return None
        case RunStatus.CANCELLED | RunStatus.TERMINATED:
            return asyncio.CancelledError(f"the workflow was {status.value}")
        case RunStatus.TIMED_OUT:
            return TimeoutError("the workflow did not end within its timeout")
    details = details or ErrorDetails()
    message = f"{details.type}: {details.message}"
    if step_name is not None:
        return StepFailed(message, details, step_name)
    return WorkflowError(message, details)
