"""The pages on guarantees and reliability name tests: there is a test of that name."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.support.processes import REPOSITORY

_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def named_in(page: str) -> list[tuple[str, str]]:
    return _NAMED.findall((REPOSITORY / "docs" / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", ["guarantees.md", "reliability.md"])
def test_every_test_that_is_named_exists(page: str) -> None:
    named = named_in(page)
    assert named
    for path, name in named:
        assert name in functions_of(REPOSITORY / path), f"{page}: {path} has no {name}"


def test_every_promise_names_a_test_that_proves_it() -> None:
    text = (REPOSITORY / "docs" / "guarantees.md").read_text(encoding="utf-8")
    promises = text.partition("## What holds")[2].partition("\n## ")[0]
    for section in promises.split("\n### ")[1:]:
        for promise in re.split(r"\n\n(?=\*\*)", section)[1:]:
            assert _NAMED.search(promise), f"no test is named for: {promise}"


def functions_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {each.name for each in ast.walk(tree) if isinstance(each, kinds)}
