"""The public errors under the name that users import them by, and what is recorded of an error.

``StepFailed`` here is the exception; the history message of that name is in
``grctl.models.history``.
"""

from __future__ import annotations

from grctl.errors import (
    ArchiveError,
    ConfigurationError,
    DatabaseNotMigratedError,
    DatabaseTooNewError,
    GrctlError,
    LeaseLostError,
    NonDeterminismError,
    NonRetryableError,
    PayloadTooLargeError,
    PoisonedStep,
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
from grctl.models.error_details import ErrorDetails

__all__ = [
    "ArchiveError",
    "ConfigurationError",
    "DatabaseNotMigratedError",
    "DatabaseTooNewError",
    "ErrorDetails",
    "GrctlError",
    "LeaseLostError",
    "NonDeterminismError",
    "NonRetryableError",
    "PayloadTooLargeError",
    "PoisonedStep",
    "RetryAfter",
    "SerializationError",
    "StepFailed",
    "StoreKeyNotFoundError",
    "TaskError",
    "WorkflowAlreadyRunningError",
    "WorkflowError",
    "WorkflowNotFoundError",
    "WorkflowTypeNotRegisteredError",
]
