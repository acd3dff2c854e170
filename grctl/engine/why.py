"""Why a run does not move: from the facts of one moment to reasons, the main one first.

Who reads them is an operator with a stuck run, at night. So each says what holds the run up, in
the words of the documentation, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator

from grctl.engine.why_ended import ended
from grctl.engine.why_held import held
from grctl.engine.why_parked import parked
from grctl.models.why import Explanation, Facts, Reason, ReasonKind

__all__ = ["explain"]


def explain(facts: Facts) -> Explanation:
    """The reasons, never none."""
    return Explanation(
        run_id=facts.run_id,
        wf_id=facts.wf_id,
        wf_type=facts.wf_type,
        status=facts.status,
        as_of=facts.now,
        reasons=tuple(_reasons(facts)),
    )


def _reasons(facts: Facts) -> Iterator[Reason]:
    if facts.status.is_ended:
        yield ended(facts)
        return
    if facts.crashes > 1:
        yield _crash_loop(facts)
    if facts.cancel_requested_at is not None:
        yield _cancel_unseen(facts)
    yield from held(facts) if facts.is_owned else parked(facts)
    if facts.unread and not (facts.is_due or facts.awaits_messages):
        yield _inbox(facts)
    if facts.crashes == 1:  # no loop yet: what holds the run up now comes first
        yield _crash_loop(facts)
    if facts.deadline_at is not None:
        yield _run_timeout(facts)


def _crash_loop(facts: Facts) -> Reason:
    workers = "1 worker was" if facts.crashes == 1 else f"{facts.crashes} workers were"
    return Reason(
        kind=ReasonKind.CRASH_LOOP,
        text=f"{workers} lost while step {facts.step_name!r} ran",
        advice=(
            "look in the logs of those workers and of their hosts for what killed them: memory, a "
            "signal, os._exit, a native library. The run fails with PoisonedStep at "
            "GRCTL_MAX_STEP_CRASHES; `grctl terminate` ends it now"
        ),
        details={"crashes": facts.crashes, "step": facts.step_name},
    )


def _cancel_unseen(facts: Facts) -> Reason:
    return Reason(
        kind=ReasonKind.CANCEL_UNSEEN,
        text=f"a cancel was asked for, and takes effect when step {facts.step_name!r} ends",
        advice=(
            "the step was told (ctx.cancel_requested; its sleeps end), and may finish its work. "
            "`grctl terminate` does not wait for it"
        ),
        since=facts.cancel_requested_at,
        details={"reason": facts.cancel_reason, "step": facts.step_name},
    )


def _inbox(facts: Facts) -> Reason:
    message = facts.message
    oldest = "" if message is None else f", the oldest is the {message.kind} {message.name!r}"
    return Reason(
        kind=ReasonKind.INBOX,
        text=f"{facts.unread} in the inbox{oldest}: handled once the run waits",
        since=None if message is None else message.sent_at,
        details={"unread": facts.unread},
    )


def _run_timeout(facts: Facts) -> Reason:
    return Reason(
        kind=ReasonKind.RUN_TIMEOUT,
        text="the timeout of the run ends it, whatever it does then",
        until=facts.deadline_at,
    )
