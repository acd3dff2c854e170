"""What must hold after a storm, whatever was done to the cluster: one function an invariant."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """Where an invariant does not hold. ``run`` is the run's id, or a workflow id."""

    invariant: str
    run: str
    text: str

    def __str__(self) -> str:
        return f"{self.invariant}  run {self.run}: {self.text}"
