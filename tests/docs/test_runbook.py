"""Every log line, every reason and every finding is where an operator looks for it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from grctl.models.why import ReasonKind
from grctl.postgres import doctor_server
from tests.support.processes import REPOSITORY

DOCS = REPOSITORY / "docs"
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}


def calls_of(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node


def log_lines() -> set[str]:
    """The first argument of each call that is a logger's by the name of its method."""
    return {
        call.args[0].value
        for path in (REPOSITORY / "grctl").rglob("*.py")
        for call in calls_of(path)
        if isinstance(call.func, ast.Attribute)
        and call.func.attr in LEVELS
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }


def lines_of_the_runbook() -> set[str]:
    """What stands in the first column of its tables, and in its last paragraph."""
    tables, _, all_is_well = (DOCS / "runbook.md").read_text(encoding="utf-8").rpartition("\n## ")
    columns = re.findall(r"^\|([^|]*)\|", tables, re.MULTILINE)
    return set(re.findall(r"`([^`]+)`", " ".join([*columns, all_is_well])))


def findings() -> set[str]:
    names = {rule.setting for rule in doctor_server._RULES} | set(doctor_server._TIMEOUTS)
    for path in (REPOSITORY / "grctl/postgres").glob("*.py"):
        for call in calls_of(path):
            match call:
                case ast.Call(func=ast.Name(id="Finding"), keywords=given):
                    names |= {
                        each.value.value
                        for each in given
                        if each.arg == "name" and isinstance(each.value, ast.Constant)
                    }
                case ast.Call(func=ast.Name(id="_about"), args=[_, ast.Constant(value=name), *_]):
                    names.add(name)
    return names


@pytest.mark.parametrize("line", sorted(log_lines()))
def test_a_log_line_is_in_the_runbook(line: str) -> None:
    assert f"`{line}`" in (DOCS / "runbook.md").read_text(encoding="utf-8")


def test_a_line_of_the_runbook_is_in_the_code() -> None:
    assert lines_of_the_runbook() - log_lines() == set()


def test_reasons_and_findings_are_in_operations() -> None:
    text = (DOCS / "operations.md").read_text(encoding="utf-8")
    assert len(findings()) > 25
    names = {kind.value for kind in ReasonKind} | findings()
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []
