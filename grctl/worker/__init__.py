"""The worker: runs workflows. What a workflow's author imports is here."""

from __future__ import annotations

from grctl.worker.child import ChildOutcome
from grctl.worker.context import Context
from grctl.worker.store import StoreKeyNotFoundError
from grctl.worker.task import task
from grctl.worker.worker import Worker

__all__ = ["ChildOutcome", "Context", "StoreKeyNotFoundError", "Worker", "task"]
