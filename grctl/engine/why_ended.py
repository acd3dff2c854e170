"""Of a run that has ended: how, and what can still be done."""

from __future__ import annotations

from typing import Any, Final

from grctl.models.run import RunStatus
from grctl.models.why import Facts, Reason, ReasonKind

__all__ = ["ended"]


def ended(facts: Facts) -> Reason:
    """Its end is the one reason why it does not move."""
    text, advice = _WORDS.get(facts.status, ("", ""))
    kind = ReasonKind.ENDED
    details: dict[str, Any] = {"status": facts.status.value}
    if facts.cancel_reason:
        text += f": {facts.cancel_reason}"
        details["reason"] = facts.cancel_reason
    if facts.status is RunStatus.CONTINUED:
        kind = ReasonKind.CONTINUED
    elif facts.status is RunStatus.FAILED and facts.error is not None:
        where = "" if facts.error_step is None else f" in step {facts.error_step!r}"
        text = f"the run failed{where}: {facts.error}"
        advice = _AFTER.get(facts.error.type, advice)
        details |= {"step": facts.error_step, "error": facts.error.to_dict()}
        if facts.error.type == "PoisonedStep":
            kind = ReasonKind.POISONED
    return Reason(kind=kind, text=text, advice=advice, since=facts.ended_at, details=details)


_ANEW: Final = "it stays as it is; the workflow id may be started anew"
_RETRY: Final = (
    "after a repair, `grctl retry` opens it at the step that failed, with what its tasks completed"
)
_WORDS: Final = {
    RunStatus.COMPLETED: ("the run is completed", ""),
    RunStatus.FAILED: ("the run failed", _RETRY),
    RunStatus.CANCELLED: ("the run was cancelled", _ANEW),
    RunStatus.TERMINATED: ("the run was terminated", _ANEW),
    RunStatus.TIMED_OUT: ("the timeout of the run ended it", _ANEW),
    RunStatus.CONTINUED: (
        "the run went on as a new run of the same workflow id",
        "look at the id's latest run: leave out --run",
    ),
}
_AFTER: Final = {
    "PoisonedStep": (
        "look in the workers' logs for what killed them (memory, a signal, os._exit, a native "
        "library); after a repair, `grctl retry` opens it at that step"
    ),
    "NonDeterminismError": (
        "the code of the step asks for something else than history has: bring the former code "
        "back, then `grctl retry`; or start the workflow anew"
    ),
}
