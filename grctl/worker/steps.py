"""What a claimed run is to do now: which handler, with which arguments; or which end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from grctl.engine.codec import Codec
from grctl.engine.transitions import Cause, Wake, still_waiting, stopped
from grctl.models.error_details import ErrorDetails
from grctl.worker.child import child_outcome
from grctl.worker.ends import End, failed, run_timed_out
from grctl.worker.run import HeldRun
from grctl.workflow.arguments import bind
from grctl.workflow.handler import Handler, HandlerKind
from grctl.workflow.workflow import Workflow

__all__ = ["StepCall", "call_for"]


@dataclass(slots=True)
class StepCall:
    """A handler and its payload; or its end, where no code is to run."""

    name: str
    read: int
    handler: Handler | None = None
    payload: str | None = None
    """What came by the inbox, recorded with the step; the start's input is the run's own."""
    input: str | None = None
    is_child: bool = False
    end: End | None = None

    def arguments(self, codec: Codec) -> dict[str, Any]:
        """The handler's keyword arguments. TypeError or ValueError names what does not fit."""
        assert self.handler is not None
        if self.is_child:
            parameter = self.handler.outcome_parameter
            if parameter is None:
                return {}
            return {parameter.name: child_outcome(codec, self.input or "{}", parameter.annotation)}
        return bind(self.handler, self.input, codec.decode)


def call_for(workflow: Workflow, run: HeldRun) -> StepCall:  # noqa: PLR0911 - a table
    """What ``run`` is awake for."""
    match run.wake:
        case Wake.START:
            handler = workflow.start_handler
            assert handler is not None
            return StepCall(handler.name, run.read, handler, input=run.input)
        case Wake.STEP:
            return _step(workflow, run, run.next_step or "")
        case Wake.TIMEOUT if run.wait_step is not None:
            return _step(workflow, run, run.wait_step)
        case Wake.TIMEOUT:
            message = "wait timed out without an on_timeout step"
            details = ErrorDetails(type="TimeoutError", message=message)
            end = failed(run, "wait", Cause.WAIT_TIMED_OUT, details, Codec(), kind="wait.timed_out")
            return StepCall("wait", run.read, end=end)
        case Wake.EVENT:
            return _message(workflow, run)
        case Wake.CANCEL:
            reason = None if run.cancel_reason is None else Codec().encode(run.cancel_reason)
            end = End("run.cancelled", {"reason": reason}, stopped(Cause.CANCEL_TAKES_EFFECT))
            return StepCall(run.next_step or "", run.read, end=end)
        case Wake.RUN_TIMEOUT:
            return StepCall(run.next_step or "", run.read, end=run_timed_out())


def _step(workflow: Workflow, run: HeldRun, name: str) -> StepCall:
    start = workflow.start_handler
    handler = workflow.steps.get(name)
    if handler is None and start is not None and start.name == name:
        return StepCall(name, run.read, start, input=run.input)
    if handler is None:
        return _unknown(run, name)
    return StepCall(name, run.read, handler)


def _message(workflow: Workflow, run: HeldRun) -> StepCall:
    message = run.message
    assert message is not None
    if message.kind == "child":
        call = _step(workflow, run, message.name)
        call.read = message.no
        if call.handler is not None:
            call.payload = message.payload
            if call.handler.kind is HandlerKind.STEP:  # the start handler takes the run's input
                call.input, call.is_child = message.payload, True
        return call
    named = workflow.updates if message.kind == "update" else workflow.events
    handler = named.get(message.name)
    if handler is None:
        return StepCall(
            message.name,
            message.no,
            payload=message.payload,
            end=End("event.unhandled", {}, still_waiting()),
        )
    return StepCall(
        message.name, message.no, handler, payload=message.payload, input=message.payload
    )


def _unknown(run: HeldRun, name: str) -> StepCall:
    details = ErrorDetails(
        type="LookupError",
        message=f"workflow {run.wf_type!r} has no step {name!r} in this worker's code: was it "
        "renamed or removed while runs were open?",
    )
    return StepCall(name, run.read, end=failed(run, name, Cause.STEP_FAILED, details, Codec()))
