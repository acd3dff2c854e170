"""What is kept of an error: enough to show it, and to raise it again just as it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ErrorDetails"]


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """A recorded error. Every field has a default.

    ``type`` is the class name, ``qualified_type`` the same with its module
    (``"shop.errors.PaymentDeclined"``), ``stack_trace`` the formatted traceback. ``args`` and
    ``attributes`` are what the error's instance held, so that a replay raises its equal.
    """

    type: str = "WorkflowFailed"
    message: str = ""
    stack_trace: str = ""
    qualified_type: str = ""
    args: tuple[Any, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type

    def to_dict(self) -> dict[str, Any]:
        """The fields as a dict for JSON output; ``args`` and ``attributes`` only where set."""
        shown: dict[str, Any] = {
            "type": self.type,
            "message": self.message,
            "stack_trace": self.stack_trace,
            "qualified_type": self.qualified_type,
        }
        if self.args:
            shown["args"] = list(self.args)
        if self.attributes:
            shown["attributes"] = dict(self.attributes)
        return shown

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ErrorDetails:
        """The reverse of ``to_dict``; what is missing gets its default, what is unknown is left."""
        default = cls()
        return cls(
            type=data.get("type", default.type),
            message=data.get("message", ""),
            stack_trace=data.get("stack_trace", ""),
            qualified_type=data.get("qualified_type", ""),
            args=tuple(data.get("args") or ()),
            attributes=dict(data.get("attributes") or {}),
        )
