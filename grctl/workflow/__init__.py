"""Definitions: decorators fill a table of handlers, whose signatures are read once and checked.

Nothing here runs a workflow. ``WorkflowHandle`` is offered under this name too, and is imported
from the client when it is asked for, so that definitions need no database driver.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from grctl.models.directive import Directive
from grctl.workflow.workflow import Workflow

if TYPE_CHECKING:
    from grctl.client.handle import WorkflowHandle

__all__ = ["Directive", "Workflow", "WorkflowHandle"]


def __getattr__(name: str) -> Any:
    if name == "WorkflowHandle":
        return import_module("grctl.client.handle").WorkflowHandle
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
