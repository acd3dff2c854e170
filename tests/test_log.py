from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from grctl import log


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, config = list(root.handlers), root.level, structlog.get_config()
    was = log._state.configured
    structlog.contextvars.clear_contextvars()
    yield
    structlog.contextvars.clear_contextvars()
    root.handlers[:], log._state.configured = handlers, was
    root.setLevel(level)
    structlog.configure(**config)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_json_has_one_object_a_line_with_time_level_and_what_is_bound(capsys):
    log.configure("json")
    structlog.contextvars.bind_contextvars(worker="w1")
    log.get_logger("grctl.part").bind(run="r1").info("step done", n=1)
    (line,) = lines(capsys)
    assert str(line.pop("timestamp")).endswith("Z")
    assert line == {
        "event": "step done",
        "level": "info",
        "logger": "grctl.part",
        "n": 1,
        "run": "r1",
        "worker": "w1",
    }


def test_what_libraries_say_of_themselves_is_left_out_below_a_level(capsys):
    log.configure("json")
    for name in ("asyncpg.pool", "uvicorn.error"):
        library = logging.getLogger(name)
        library.info("about itself")
        library.error("about a defect")
    logging.getLogger("asyncpg.pool").warning("a traceback for each retry")
    assert [line["event"] for line in lines(capsys)] == ["about a defect"] * 2


def test_standard_loggers_go_the_same_way(capsys):
    log.configure("json")
    structlog.contextvars.bind_contextvars(worker="w1")
    logging.getLogger("user").warning("100%% of %s", "it", extra={"k": 1})
    (line,) = lines(capsys)
    assert (line["event"], line["worker"], line["k"]) == ("100% of it", "w1", 1)


def test_what_is_below_the_level_is_not_written(capsys):
    log.configure("json", "warning")
    log.get_logger("grctl.part").info("quiet")
    logging.getLogger("user").info("quiet")
    assert lines(capsys) == []


def test_a_second_configuration_replaces_the_first(capsys):
    log.configure("console")
    log.configure("json")
    log.get_logger("grctl.part").info("once")
    assert len(lines(capsys)) == 1


def test_an_exception_is_shown_without_local_variables(capsys):
    password = "secret"  # noqa: F841  the traceback must not show it
    for form in ("console", "json"):
        log.configure(form)
        try:
            int("bad")
        except ValueError:
            log.get_logger("grctl.part").exception("failed")
        text = capsys.readouterr().err
        assert "ValueError: invalid literal" in text
        assert 'password = "secret"' not in text


def test_without_configuration_the_programs_own_logging_has_the_events(caplog):
    log._state.configured = False
    with caplog.at_level("INFO"):
        log.get_logger("grctl.part").info("100% done", n=1)
    (record,) = caplog.records
    assert record.getMessage() == "100% done n=1"
    assert record.name == "grctl.part"
