"""How a step ends: its row of history, and the transition that it makes of its run.

An ``End`` is told from what the step's code returned or raised, or from what stopped it. Nothing is
written here, and nothing waited for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grctl.counts import counted
from grctl.engine.codec import Codec
from grctl.engine.exceptions import capture, details_to_json
from grctl.engine.retry import next_delay_ms
from grctl.engine.rows import Transition
from grctl.engine.transitions import Cause, after_directive, retried, stopped
from grctl.errors import PoisonedStep
from grctl.models.directive import Complete, ContinueAsNew, Directive, Fail, RetryPolicy
from grctl.models.error_details import ErrorDetails
from grctl.worker.run import HeldRun, run_after
from grctl.worker.scope import recorded_as
from grctl.workflow.handler import Handler, HandlerKind

__all__ = [
    "UNHANDLED",
    "End",
    "attempt_failed",
    "failed",
    "poison",
    "returned",
    "run_timed_out",
    "timed_out",
]

UNHANDLED = frozenset({"step.attempt_failed", "step.failed", "step.timeout", "run.timeout"})
"""Ends of a step that has not handled its message: it stays in the inbox, for a retry."""


@dataclass(slots=True)
class End:
    """How a step ended: its row, and the transition it makes."""

    kind: str
    body: dict[str, str | None]
    transition: Transition


def returned(run: HeldRun, handler: Handler, value: Any, codec: Codec) -> End:
    """By the directive that the handler returned; an update's has the answer beside it.

    TypeError for what is no directive, ValueError for what cannot be recorded.
    """
    answer: Any = None
    if handler.kind is HandlerKind.UPDATE and isinstance(value, tuple) and len(value) == 2:
        value, answer = value
    if not isinstance(value, Directive):
        raise TypeError(
            f"{handler.label} of workflow {run.wf_type!r} returned {value!r:.100}, not a "
            "Directive: return ctx.next.step(…), .wait(…), .complete(…), .fail(…) or "
            ".continue_as_new(…)"
        )
    transition = after_directive(value)
    body: dict[str, str | None] = {"next": f'"{transition.go}"'}
    if isinstance(value, Complete):
        body["next"] = '"complete"'
        transition.result = codec.encode(value.result, what=f"result of workflow {run.wf_type!r}")
    elif isinstance(value, Fail):
        body["next"] = '"fail"'
        transition.error = body["error"] = details_to_json(value.error, codec)
    elif isinstance(value, ContinueAsNew):
        body["next"] = '"continue_as_new"'
        transition.successor = run_after(
            run, codec.encode(value.input, what="input of continue_as_new")
        )
        body["run_id"] = f'"{transition.successor["run_id"]}"'
    else:
        body["step"] = _text(codec, transition.step_name or transition.wait_step)
        body["delay_ms"] = _text(codec, transition.delay_ms)
    if handler.kind is HandlerKind.UPDATE:
        body["answer"] = codec.encode(answer, what=f"answer of {handler.label}")
        transition.answer = _answer(run, answer=body["answer"])
    return End("step.completed", body, transition)


def attempt_failed(
    run: HeldRun, policy: RetryPolicy, error: BaseException, fraction: float, codec: Codec
) -> End | None:
    """By an error after which ``policy`` has the step tried again; None if it has not."""
    delay_ms = next_delay_ms(policy, error, run.step_attempt, fraction)
    if delay_ms is None:
        return None
    body: dict[str, str | None] = {
        "error": details_to_json(capture(error), codec),
        "next_retry_delay_ms": str(delay_ms),
        "max_attempts": str(policy.max_attempts),
    }
    return End("step.attempt_failed", body, retried(run.step_attempt + 1, delay_ms))


def failed(
    run: HeldRun,
    name: str,
    cause: Cause,
    details: ErrorDetails,
    codec: Codec,
    kind: str = "step.failed",
) -> End:
    """By an error that fails the run, in step ``name``."""
    text = details_to_json(details, codec)
    transition = stopped(cause)
    transition.error = recorded_as(step=_text(codec, name), error=text)
    transition.answer = _answer(run, error=text)
    return End(kind, {"error": text}, transition)


def poison(run: HeldRun) -> PoisonedStep:
    """The error of a step that is not tried again, as it has killed too many workers."""
    return PoisonedStep(
        f"step {run.step_name!r} ended {counted(run.crashes, 'worker')} while it ran "
        "(max_step_crashes); it is not tried again. Look in the workers' logs for what killed "
        "them: memory, a signal, os._exit, a crash of a native library"
    )


def timed_out(run: HeldRun, codec: Codec) -> End:
    """By the step's own timeout."""
    name = run.step_name
    details = ErrorDetails(type="TimeoutError", message=f"step {name} timed out")
    transition = stopped(Cause.STEP_TIMED_OUT)
    transition.error = recorded_as(step=_text(codec, name), error=details_to_json(details, codec))
    told = capture(TimeoutError(details.message))
    transition.answer = _answer(run, error=details_to_json(told, codec))
    return End("step.timeout", {}, transition)


def run_timed_out() -> End:
    """By the run's timeout, in a step or between two."""
    return End("run.timeout", {}, stopped(Cause.RUN_TIMEOUT))


def _answer(run: HeldRun, **given: str | None) -> dict[str, Any] | None:
    """The answer to the update that the step handles, if it does."""
    message = run.message
    if message is None or message.kind != "update":
        return None
    ids = {"message_id": str(message.message_id), "run_id": str(run.run_id)}
    return {**ids, "answer": None, "error": None, **given}


def _text(codec: Codec, value: Any) -> str | None:
    return None if value is None else codec.encode(value)
