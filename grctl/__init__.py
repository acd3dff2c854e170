"""grctl: ordinary async Python that survives crashes, with nothing to run but PostgreSQL."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from grctl.version import __version__

if TYPE_CHECKING:
    from grctl.client import Client, Connection, WorkflowHandle
    from grctl.errors import NonRetryableError, RetryAfter, StepFailed, WorkflowError
    from grctl.models import ErrorDetails, RetryPolicy, RunInfo, RunStatus
    from grctl.worker import ChildOutcome, Context, StoreKeyNotFoundError, Worker, task
    from grctl.workflow import Directive, Workflow

_HOMES = {
    "grctl.client": ("Client", "Connection", "WorkflowHandle"),
    "grctl.errors": ("NonRetryableError", "RetryAfter", "StepFailed", "WorkflowError"),
    "grctl.models": ("ErrorDetails", "RetryPolicy", "RunInfo", "RunStatus"),
    "grctl.worker": ("ChildOutcome", "Context", "StoreKeyNotFoundError", "Worker", "task"),
    "grctl.workflow": ("Directive", "Workflow"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "ChildOutcome",
    "Client",
    "Connection",
    "Context",
    "Directive",
    "ErrorDetails",
    "NonRetryableError",
    "RetryAfter",
    "RetryPolicy",
    "RunInfo",
    "RunStatus",
    "StepFailed",
    "StoreKeyNotFoundError",
    "Worker",
    "Workflow",
    "WorkflowError",
    "WorkflowHandle",
    "__version__",
    "task",
]


def __getattr__(name: str) -> Any:
    # Loaded when asked for: the command line must start fast.
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'grctl' has no attribute {name!r}")
