"""Is the process alive, and is it ready for work? Two questions with different answers.

*Alive* is what a restart can mend: a loop that stands still, a lease thread that has ended. A
database that is away is no reason to restart every worker; it makes them *not ready*.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Vitals", "why_dead", "why_not_ready"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """A worker at one moment. ``records_waiting`` is what the journal has not sent yet."""

    worker_id: str
    worker_name: str
    is_registered: bool
    is_stopping: bool
    is_lease_kept: bool
    """Whether the thread that renews the lease is there."""
    lease_left: float
    """Seconds until the lease ends if it is not renewed; 0 without one."""
    loop_silent: float
    """Seconds since the event loop's last sign of life; it is asked four times a second."""
    longest_silence: float
    """The setting max_loop_stall_seconds: after it the process ends itself."""
    held: int
    sleeping: int
    concurrency: int
    records_waiting: int

    @property
    def holds_lease(self) -> bool:
        """Whether what it records is accepted, as far as it knows."""
        return self.is_registered and self.lease_left > 0


def why_dead(vitals: Vitals) -> list[str]:
    """What a restart would mend; nothing: the process is alive."""
    reasons = []
    if vitals.loop_silent > vitals.longest_silence / 2:
        reasons.append(
            f"the event loop has stood still for {vitals.loop_silent:.0f} s: a step or task blocks "
            "it (its stack is in the log, at 'loop stalled')"
        )
    if not vitals.is_lease_kept:
        reasons.append("the thread that renews the lease has ended")
    return reasons


def why_not_ready(vitals: Vitals, database_problem: str | None) -> list[str]:
    """What keeps the worker from taking runs just now; nothing: it is ready."""
    reasons = why_dead(vitals)
    if vitals.is_stopping:
        reasons.append("the worker is stopping")
    elif not vitals.is_registered:
        reasons.append("the worker is not registered")
    elif vitals.lease_left <= 0:
        reasons.append("the lease has ended: it could not be renewed")
    if database_problem is not None:
        reasons.append(database_problem)
    return reasons
