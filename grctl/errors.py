"""Every exception that grctl raises on purpose, as one tree.

::

    GrctlError
    ├── WorkflowError                     a workflow failed, or a request about one was refused
    │   ├── StepFailed                    an uncaught exception or a timeout of a step was the cause
    │   ├── WorkflowNotFoundError         no run has this workflow id
    │   ├── WorkflowAlreadyRunningError   the workflow id has an active run
    │   └── WorkflowTypeNotRegisteredError  no worker has ever registered this workflow type
    ├── NonDeterminismError               a replayed step asked for something else than it recorded
    ├── PoisonedStep                      a step killed its worker too many times
    ├── TaskError                         a recorded task error whose class is not imported here
    ├── NonRetryableError                 raise it in a task or step: no further attempt is made
    ├── RetryAfter                        raise it in a task or step: its own delay before the next
    ├── SerializationError (ValueError)   a value cannot be written as JSON or read as its type
    │   └── PayloadTooLargeError          a value is larger than ``max_payload_bytes``
    ├── StoreKeyNotFoundError (KeyError)  the run's store has no such key
    ├── ArchiveError                      an archive of runs is none, is damaged, or is too new
    ├── LeaseLostError                    the run belongs to another worker now; nothing was written
    └── ConfigurationError                a setting is missing or wrong
        ├── DatabaseNotMigratedError      the schema is missing or older than this grctl
        └── DatabaseTooNewError           the schema is newer than this grctl

All of them can be pickled, and made again from their ``args`` alone: what else they carry lies in
attributes with a default on the class.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from grctl.models.error_details import ErrorDetails

__all__ = [
    "ArchiveError",
    "ConfigurationError",
    "DatabaseNotMigratedError",
    "DatabaseTooNewError",
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


class GrctlError(Exception):
    """The root of the tree: ``except GrctlError`` catches all that grctl raises on purpose."""


class WorkflowError(GrctlError):
    """A workflow failed, or a request about it was refused.

    For a failed workflow the message is ``"<ErrorType>: <message>"`` and ``details`` says all
    that was recorded; ``details`` is None where no recorded failure stands behind the error.
    """

    details: ErrorDetails | None = None

    def __init__(self, message: str = "", details: ErrorDetails | None = None) -> None:
        super().__init__(message)
        self.details = details


class StepFailed(WorkflowError):  # noqa: N818  the name is part of the public contract
    """A workflow failed because of an uncaught exception or a timeout of one of its steps.

    ``step_name`` names that step; empty where it is not known.
    """

    step_name: str = ""

    def __init__(
        self, message: str = "", details: ErrorDetails | None = None, step_name: str = ""
    ) -> None:
        super().__init__(message, details)
        self.step_name = step_name


class WorkflowNotFoundError(WorkflowError):
    """No run, active or ended, has this workflow id (or this run id)."""


class WorkflowAlreadyRunningError(WorkflowError):
    """The workflow id already has an active run; a second one is not started."""


class WorkflowTypeNotRegisteredError(WorkflowError):
    """No worker has ever registered this workflow type in this database."""


class NonDeterminismError(GrctlError):
    """A replayed step asked for something else than what its history records.

    Nothing was run twice: the step fails instead. Its code changed while it was in flight, or it
    depends on something that is not recorded (the clock, dice, the order of a set).
    """


class PoisonedStep(GrctlError):  # noqa: N818  the name is part of the public contract
    """A step killed its worker ``max_step_crashes`` times, so that its run is failed."""


class TaskError(GrctlError):
    """A recorded task error whose class is not among the modules imported in this process.

    ``type`` is the class name of the original error, ``message`` its text, ``details`` all that
    was recorded of it (None where nothing more is known).
    """

    details: ErrorDetails | None = None

    def __init__(
        self,
        type: str = "",
        message: str = "",
        details: ErrorDetails | None = None,
    ) -> None:
        super().__init__(type, message)
        self.details = details

    @property
    def type(self) -> str:
        """The class name of the original error."""
        return cast("str", self.args[0]) if self.args else ""

    @property
    def message(self) -> str:
        """The text of the original error."""
        return cast("str", self.args[1]) if len(self.args) > 1 else ""

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type


class NonRetryableError(GrctlError):
    """Raise it, or a subclass, to end the retries of a task or step whatever its policy says."""


class RetryAfter(GrctlError):  # noqa: N818  it reads as what it asks for
    """Raise it in a task or step to say how long to wait before the next attempt.

    ``delay`` replaces the delay of the retry policy; whether there is a next attempt is still the
    policy's business. A negative delay raises ValueError, another type TypeError.
    """

    def __init__(self, delay: timedelta, message: str = "") -> None:
        if not isinstance(delay, timedelta):
            raise TypeError(
                f"RetryAfter takes a timedelta, not {type(delay).__name__}: "
                "write RetryAfter(timedelta(seconds=...))"
            )
        if delay < timedelta(0):
            raise ValueError(f"the delay of RetryAfter must be zero or more, not {delay}")
        super().__init__(delay, message)

    @property
    def delay(self) -> timedelta:
        """How long to wait before the next attempt."""
        return cast("timedelta", self.args[0])

    @property
    def message(self) -> str:
        """Why; may be empty."""
        return cast("str", self.args[1]) if len(self.args) > 1 else ""

    def __str__(self) -> str:
        return self.message or f"retry after {self.delay}"


class SerializationError(GrctlError, ValueError):
    """A value cannot be written as JSON, or JSON cannot be read as the type that was asked for."""


class PayloadTooLargeError(SerializationError):
    """A value's JSON is larger than ``max_payload_bytes`` (default 2 MiB)."""


class StoreKeyNotFoundError(GrctlError, KeyError):
    """The run's store has no such key. ``key`` is the one that was asked for."""

    def __init__(self, key: str) -> None:
        super().__init__(key)

    @property
    def key(self) -> str:
        """The key that was asked for."""
        return cast("str", self.args[0])

    def __str__(self) -> str:
        # KeyError shows the bare repr of the key, which says nothing in a log line.
        return f"the store has no key {self.key!r}"


class ArchiveError(GrctlError):
    """An archive of runs cannot be read: it is none, is damaged, or was made by a newer grctl."""


class LeaseLostError(GrctlError):
    """The run belongs to another worker now; whatever this one held of it was not written."""


class ConfigurationError(GrctlError):
    """A setting is missing or wrong; the message names it and says what to do."""


class DatabaseNotMigratedError(ConfigurationError):
    """The database has no grctl schema, or an older one than this version needs."""


class DatabaseTooNewError(ConfigurationError):
    """The database's schema was migrated by a newer grctl than this one."""
