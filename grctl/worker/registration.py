"""What a worker is: the workflows it serves, and the name that follows from them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from grctl.errors import ConfigurationError
from grctl.workflow.workflow import Workflow

__all__ = ["by_type", "name_for"]


def by_type(workflows: Iterable[Workflow]) -> dict[str, Workflow]:
    """The workflows by their types; an error for what a worker cannot serve."""
    found: dict[str, Workflow] = {}
    for workflow in workflows:
        if not isinstance(workflow, Workflow):
            raise ConfigurationError(f"a worker executes Workflow objects, not {workflow!r:.100}")
        workflow.validate()
        if workflow.workflow_type in found and found[workflow.workflow_type] is not workflow:
            raise ValueError(f"two workflows have the type {workflow.workflow_type!r}")
        found[workflow.workflow_type] = workflow
    if not found:
        raise ValueError("a worker needs at least one workflow")
    return found


def name_for(types: Iterable[str]) -> str:
    """The same name for the same set of types."""
    names = sorted(types)
    if len(names) == 1 and names[0].isascii() and len(names[0]) <= 40 and names[0].isprintable():
        return names[0]
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return f"worker-{digest[:8]}"
