"""Logs: one line an event on stderr, for people or as JSON, with UTC timestamps.

Records of the standard logging module (asyncpg, sqlalchemy, alembic, the user's own) go through the
same renderer. What is bound to structlog's contextvars (worker, run, step) is on every line.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any, Literal, TextIO, cast

import structlog
from structlog.typing import EventDict

LogFormat = Literal["auto", "console", "json"]

_LEAST = {
    # Chatty at info, and about their own business.
    "sqlalchemy": logging.WARNING,
    "alembic": logging.WARNING,
    "asyncio": logging.WARNING,
    "uvicorn": logging.WARNING,
    # A traceback for each time that it cannot connect, which `database retry` says already.
    "asyncpg.pool": logging.ERROR,
}


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is now, as tests and servers replace it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _value: TextIO) -> None:
        raise AttributeError("the stream is sys.stderr")


def configure(log_format: LogFormat = "auto", level: str = "info") -> None:
    """Set up logging for this process; may be called again, the last call wins.

    Args:
        log_format: `console`, `json`, or `auto`: console when stderr is a terminal, else json.
        level: the least severe level logged: debug, info, warning, error or critical.

    Only programs of ours call this: who embeds a `Worker` keeps the logging they have set up.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    handler = _StderrHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_bindings(), structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(as_json=as_json),
            ],
        )
    )
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _StderrHandler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(number)
    for name, least in _LEAST.items():
        logging.getLogger(name).setLevel(max(number, least))
    _state.configured = True
    # Loggers of user modules, made with structlog.get_logger(), come out the same way.
    structlog.configure(
        processors=_processors(),
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A structlog logger over the standard logger `name`, with the methods of the latter.

    Before `configure()` its events reach the standard logger as plain text (`event key=value`), so
    a program that set up logging by itself sees them like any other library's.
    """
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=_processors(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return cast("structlog.stdlib.BoundLogger", logger)


def enrich(add: Callable[[EventDict], None]) -> None:
    """Let ``add`` put more on every line that is written from now on. Twice is once."""
    if add not in _state.enrichers:
        _state.enrichers.append(add)


class _State:
    configured = False

    def __init__(self) -> None:
        self.enrichers: list[Callable[[EventDict], None]] = []


_state = _State()
_plain = structlog.processors.KeyValueRenderer(
    key_order=["event"], drop_missing=True, repr_native_str=False
)


def _bindings() -> list[structlog.typing.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        _enrich,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _enrich(_logger: Any, _name: str, event: EventDict) -> EventDict:
    for add in _state.enrichers:
        add(event)
    return event


def _processors() -> list[structlog.typing.Processor]:
    return [
        # First, so that a line below the level costs next to nothing.
        structlog.stdlib.filter_by_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        *_bindings(),
        _hand_over,
    ]


def _hand_over(logger: Any, name: str, event: EventDict) -> Any:
    if _state.configured:
        return structlog.stdlib.ProcessorFormatter.wrap_for_formatter(logger, name, event)
    exc_info = event.pop("exc_info", None)
    for standard in ("timestamp", "level", "logger"):
        event.pop(standard, None)
    text = str(event.pop("event", ""))
    rest = str(_plain(logger, name, event))
    # As an argument: the standard logger would read a % in the text as a place to fill.
    return ("%s", f"{text} {rest}".rstrip()), {"exc_info": exc_info}


def _renderers(*, as_json: bool) -> list[structlog.typing.Processor]:
    if not as_json:
        # Plain tracebacks: richer ones print local variables, and with them what is secret.
        return [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    return [
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        structlog.processors.JSONRenderer(default=str),
    ]
