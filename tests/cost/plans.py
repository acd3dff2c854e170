"""The plans of all that a worker and a client send, of statements inside functions too."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import pytest

from tests.support import Database


@dataclass(frozen=True)
class Node:
    """A node of a plan that was executed: what it read, and how many rows it touched."""

    kind: str
    relation: str | None
    index: str | None
    rows: float


@dataclass(frozen=True)
class Plan:
    """A statement, on one line, and the nodes of its plan."""

    statement: str
    nodes: tuple[Node, ...]

    @property
    def indexes(self) -> set[str]:
        """By which it enters tables."""
        return {node.index for node in self.nodes if node.index is not None}


async def explain_everything(database: Database) -> None:
    """From now on sessions of the database tell their client the plan of each statement."""
    name = await database.fetchval("select current_database()")
    for setting, value in (
        ("session_preload_libraries", "auto_explain"),
        ("auto_explain.log_min_duration", "0"),
        ("auto_explain.log_nested_statements", "on"),
        ("auto_explain.log_analyze", "on"),
        ("auto_explain.log_timing", "off"),
        ("auto_explain.log_format", "json"),
        ("auto_explain.log_level", "notice"),
    ):
        await database.execute(f"alter database \"{name}\" set {setting} = '{value}'")
    await database.close()


@contextmanager
def plans_heard() -> Iterator[list[Plan]]:
    """The plans of what is fetched meanwhile, by any connection of this process."""
    heard: list[Plan] = []

    def hear(_: object, message: asyncpg.PostgresLogMessage) -> None:
        text = str(message)
        if "plan:" in text:
            heard.append(_plan(json.loads(text.partition("plan:")[2])))

    def listening(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def fetch(self: Any, *args: Any, **options: Any) -> Any:
            # Only meanwhile: a pool wants its connections back without listeners.
            self.add_log_listener(hear)
            try:
                return await original(self, *args, **options)
            finally:
                self.remove_log_listener(hear)

        return fetch

    with pytest.MonkeyPatch.context() as patch:
        for method in ("fetch", "fetchval"):
            patch.setattr(
                asyncpg.Connection, method, listening(getattr(asyncpg.Connection, method))
            )
        yield heard


def _plan(told: dict[str, Any]) -> Plan:
    lines = (line.partition("--")[0] for line in told["Query Text"].splitlines())
    return Plan(" ".join(" ".join(lines).split()), tuple(_nodes(told["Plan"])))


def _nodes(node: dict[str, Any]) -> Iterator[Node]:
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Join Filter", 0)
    rows = (node["Actual Rows"] + removed) * node["Actual Loops"]
    yield Node(node["Node Type"], node.get("Relation Name"), node.get("Index Name"), rows)
    for below in node.get("Plans", ()):
        yield from _nodes(below)
