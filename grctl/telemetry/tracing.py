"""Spans: from the client's start of a run through its steps and tasks, on whatever worker.

The run carries where it is in a trace (``runs.trace``, a W3C traceparent). Its starter's span is
the parent of its steps; a child is below the step that started it. A run whose starter did not
trace has a trace of its own, whose id is made from the run's.

The ids of steps' spans are made from run, step and attempt. A step that a crash cut off never
ended its span; the worker that goes on with it gives its own the same id, so that what was done
before the crash is below it, too. What is replayed was told already, and makes no span.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import Token
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from uuid import UUID

from grctl.engine.exceptions import capture
from grctl.errors import ConfigurationError
from grctl.log import enrich
from grctl.version import __version__

try:
    from opentelemetry import context as otel_context
    from opentelemetry import trace
    from opentelemetry.trace import Span, SpanContext, SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise ConfigurationError(
        "GRCTL_TRACING is on, but OpenTelemetry is not installed: pip install 'grctl[otel]'"
    ) from error

if TYPE_CHECKING:
    from opentelemetry.context import Context

__all__ = ["Tracing"]

T = TypeVar("T")

_propagator = TraceContextTextMapPropagator()


class TracedMessage(Protocol):
    """A message to a run."""

    @property
    def trace(self) -> str | None:
        """Where its sender was in a trace."""


class TracedRun(Protocol):
    """What a span says of its run."""

    run_id: UUID
    wf_id: str
    wf_type: str
    epoch: int
    step_no: int
    step_attempt: int
    step_name: str
    created_at: datetime
    trace: str | None

    @property
    def message(self) -> TracedMessage | None:
        """What the step handles, if it handles a message."""


class Tracing:
    """Makes spans by the process's tracer provider (default: the one that is set globally)."""

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("grctl", __version__, provider)
        self._ids = _Ids(getattr(self._tracer, "id_generator", None))
        if self._ids.is_heard:
            self._tracer.id_generator = self._ids  # type: ignore[attr-defined]  # the SDK's own
        enrich(_add_trace_ids)

    # --- clients ------------------------------------------------------------------------------

    @contextmanager
    def starting(self, wf_type: str, wf_id: str, run_id: UUID) -> Iterator[str | None]:
        """The span of a start; gives the traceparent that the run carries."""
        attributes = _of_run(wf_type, wf_id, run_id)
        with self._tracer.start_as_current_span(
            f"start {wf_type}", kind=SpanKind.PRODUCER, attributes=attributes
        ):
            yield self.traceparent()

    @contextmanager
    def starting_many(self, count: int) -> Iterator[str | None]:
        """The one span of many starts by one statement."""
        with self._tracer.start_as_current_span(
            "start workflows", kind=SpanKind.PRODUCER, attributes={"grctl.starts": count}
        ):
            yield self.traceparent()

    def traceparent(self) -> str | None:
        """Where the caller is in its trace; None if it is in none."""
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        return carrier.get("traceparent")

    # --- workers ------------------------------------------------------------------------------

    def begin_step(self, run: TracedRun, *, is_replayed: bool) -> tuple[Span, Token[Context]]:
        """The span of the step that begins now, made the current one; to be left by ``leave``."""
        attributes: dict[str, Any] = _of_run(run.wf_type, run.wf_id, run.run_id)
        attributes |= {
            "grctl.step.no": run.step_no,
            "grctl.attempt": run.step_attempt,
            "grctl.epoch": run.epoch,
            "grctl.replayed": is_replayed,
        }
        with self._ids.chosen(run, f"{run.step_no}.{run.step_attempt}"):
            span = self._tracer.start_span(
                run.wf_type, _carried_by(run), kind=SpanKind.CONSUMER, attributes=attributes
            )
        return span, otel_context.attach(trace.set_span_in_context(span))

    def leave(self, token: Token[Context]) -> None:
        """The step's span is not the current one any more. It need not have ended."""
        otel_context.detach(token)

    def step_raised(self, span: Span, error: BaseException) -> None:
        """The step's code ended with this error."""
        _record(span, error)

    def end_step(self, span: Span, run: TracedRun, outcome: str) -> None:
        """The step's end is committed."""
        if outcome in _FAILED:
            span.set_status(StatusCode.ERROR, outcome)
        if run.message is not None and run.message.trace is not None:
            span.add_link(_context_of(run.message.trace))
        span.update_name(f"{run.wf_type} {run.step_name}")
        span.set_attributes({"grctl.step": run.step_name, "grctl.outcome": outcome})
        span.end()

    def end_run(self, run: TracedRun, status: str) -> None:
        """The run has ended: one span for all of it, beside those of its steps."""
        attributes = _of_run(run.wf_type, run.wf_id, run.run_id) | {"grctl.status": status}
        with self._ids.chosen(run, "run"):
            span = self._tracer.start_span(
                f"run {run.wf_type}",
                _carried_by(run),
                attributes=attributes,
                start_time=int(run.created_at.timestamp() * 1e9),
            )
        if status in {"failed", "timed_out"}:
            span.set_status(StatusCode.ERROR, status)
        span.end()

    async def task(self, name: str, attempt: int, body: Awaitable[T]) -> T:
        """One attempt of a task."""
        attributes: dict[str, Any] = {"grctl.task": name, "grctl.attempt": attempt}
        with self._tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                return await body
            except Exception as error:
                _record(span, error)
                span.set_status(StatusCode.ERROR, type(error).__name__)
                raise


class _Ids:
    """An id generator for our own tracer: chosen ids for what may begin twice, else as before.

    A tracer without one (no SDK: nothing is exported) does not hear it.
    """

    def __init__(self, usual: Any) -> None:
        self._usual = usual
        self._trace_id: int | None = None
        self._span_id: int | None = None

    @property
    def is_heard(self) -> bool:
        return self._usual is not None

    @contextmanager
    def chosen(self, run: TracedRun, what: str) -> Iterator[None]:
        """The span made within is this one of the run's."""
        # Not the run's id itself: its second half has fixed bits, and samplers go by that half.
        self._trace_id = int.from_bytes(run.run_id.bytes[:8] + _digest(run, "trace"))
        self._span_id = int.from_bytes(_digest(run, what))
        try:
            yield
        finally:
            self._trace_id = self._span_id = None

    def generate_trace_id(self) -> int:
        return self._trace_id or int(self._usual.generate_trace_id())

    def generate_span_id(self) -> int:
        return self._span_id or int(self._usual.generate_span_id())

    def is_trace_id_random(self) -> bool:
        usual = getattr(self._usual, "is_trace_id_random", None)
        return self._trace_id is None and usual is not None and bool(usual())


_FAILED = frozenset({"step.failed", "step.attempt_failed", "step.timeout", "run.timeout"})


def _carried_by(run: TracedRun) -> Context:
    """The context that a run's spans have as their parent; an empty one: a trace of its own."""
    carrier = {} if run.trace is None else {"traceparent": run.trace}
    return _propagator.extract(carrier, otel_context.Context())


def _context_of(traceparent: str) -> SpanContext:
    carried = _propagator.extract({"traceparent": traceparent}, otel_context.Context())
    return trace.get_current_span(carried).get_span_context()


def _of_run(wf_type: str, wf_id: str, run_id: UUID) -> dict[str, Any]:
    return {
        "grctl.workflow.type": wf_type,
        "grctl.workflow.id": wf_id,
        "grctl.run.id": str(run_id),
    }


def _digest(run: TracedRun, what: str) -> bytes:
    return hashlib.blake2b(run.run_id.bytes + what.encode(), digest_size=8).digest()


def _record(span: Span, error: BaseException) -> None:
    """As history shows it: the SDK's own way fails where the error's ``__str__`` does."""
    details = capture(error)
    span.add_event(
        "exception",
        {
            "exception.type": details.type,
            "exception.message": details.message,
            "exception.stacktrace": details.stack_trace,
        },
    )


def _add_trace_ids(event: MutableMapping[str, Any]) -> None:
    """On each log line: the span it was written in."""
    spot = trace.get_current_span().get_span_context()
    if spot.is_valid:
        event.setdefault("trace_id", trace.format_trace_id(spot.trace_id))
        event.setdefault("span_id", trace.format_span_id(spot.span_id))
