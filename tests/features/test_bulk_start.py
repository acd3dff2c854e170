"""Starts, one and many: each is answered for itself, and a start sent again is the same start."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, cast

import asyncpg
import pytest

from grctl.client import Client, WorkflowStart
from grctl.client.handle import WorkflowHandle
from grctl.client.starts import Start
from grctl.ids import new_run_id
from grctl.models.errors import WorkflowAlreadyRunningError, WorkflowTypeNotRegisteredError
from tests.features.looking import count
from tests.support import Database


async def test_many_runs_are_started_by_one_statement(
    database: Database, client: Client, serve: Any
) -> None:
    await serve()
    handles = await client.start_workflows(
        [WorkflowStart("features.child", f"c{n}", {"value": n}) for n in range(500)]
    )

    assert await database.fetchval("select count(distinct created_at) from grctl.runs") == 1
    results = await asyncio.gather(
        *(h.result(timeout=30) for h in handles if isinstance(h, WorkflowHandle))
    )
    assert results == list(range(500))


async def test_each_start_of_many_has_an_answer_of_its_own(client: Client, serve: Any) -> None:
    await serve()
    await client.start_workflow("features.box", "taken")
    answers = await client.start_workflows(
        [
            {"type": "features.child", "id": "a", "input": {"value": 1}},
            {"type": "features.child", "id": "taken"},
            {"type": "nobody.serves.this", "id": "b"},
            {"type": "features.box", "id": "twice"},
            {"type": "features.box", "id": "twice"},
            {"type": "features.box", "id": "c", "timeout": timedelta(milliseconds=100)},
        ]
    )

    assert [type(each) for each in answers] == [
        WorkflowHandle,
        WorkflowAlreadyRunningError,
        WorkflowTypeNotRegisteredError,
        WorkflowHandle,
        WorkflowAlreadyRunningError,
        WorkflowHandle,
    ]
    assert isinstance(answers[0], WorkflowHandle)
    assert await answers[0].result(timeout=10) == 1
    assert isinstance(answers[5], WorkflowHandle)
    with pytest.raises(TimeoutError):
        await answers[5].result(timeout=10)
    assert await client.start_workflows([]) == []


@pytest.mark.parametrize("wf_id", ["", "x" * 256, "nul\0", "half \ud800"])
async def test_an_impossible_id_is_refused_before_anything_is_sent(
    database: Database, client: Client, serve: Any, wf_id: str
) -> None:
    await serve()
    with pytest.raises(ValueError, match="workflow id"):
        await client.start_workflows([{"type": "features.box", "id": wf_id}])
    assert await count(database, "runs") == 0


async def test_a_start_sent_again_after_a_lost_answer_is_the_same_start(
    database: Database, client: Client, serve: Any
) -> None:
    await serve()
    start = Start(new_run_id(), "a", "features.box", None)

    assert await client.connection.starts.start_all([start]) == [None]
    assert await client.connection.starts.start_all([start]) == [None]
    assert await count(database, "runs") == 1


async def test_of_many_starts_of_one_id_at_once_exactly_one_wins(
    database: Database, client: Client, serve: Any
) -> None:
    await serve()
    outcomes = await asyncio.gather(
        *(client.start_workflow("features.box", "a") for _ in range(50)), return_exceptions=True
    )

    assert sum(isinstance(each, WorkflowHandle) for each in outcomes) == 1
    assert sum(isinstance(each, WorkflowAlreadyRunningError) for each in outcomes) == 49
    assert await count(database, "runs") == 1


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"type": "a\0b"}, ValueError, r"a workflow type must .* not 'a\\x00b'"),
        ({"type": "\ud800"}, ValueError, r"a workflow type must .* not '\\ud800'"),
        ({"type": 7}, ValueError, "a workflow type must .* not 7"),
        ({"timeout": 60}, TypeError, "a run's timeout must be a timedelta or None, not int 60"),
        ({"timeout": timedelta.max}, ValueError, "a run's timeout must .* at most 36525 days"),
        ({"timeout": timedelta(days=200_000_000)}, ValueError, "a run's timeout must .* at most"),
    ],
)
async def test_a_start_that_cannot_be_sent_takes_no_other_along(
    client: Client, serve: Any, wrong: dict[str, Any], error: type[Exception], said: str
) -> None:
    await serve()
    starts = [
        client.start_workflow(
            **{"type": "features.child", "id": f"c{n}", "input": {"value": n}, **each}
        )
        for n, each in enumerate([{}, wrong, {}])
    ]

    first, refused, last = await asyncio.gather(*starts, return_exceptions=True)

    assert isinstance(first, WorkflowHandle)
    assert isinstance(last, WorkflowHandle)
    assert [await each.result(timeout=30) for each in (first, last)] == [0, 2]
    with pytest.raises(error, match=said):
        raise cast("Exception", refused)


async def test_a_start_that_cannot_be_stored_is_no_error_of_those_beside_it(
    database: Database, client: Client, serve: Any
) -> None:
    """They gather while one statement is on its way, and go by the next one together."""
    await serve()
    past_the_calendar = 2**54
    outcomes = await asyncio.gather(
        *(
            client.connection.starts.start(
                Start(
                    new_run_id(),
                    f"w{n}",
                    "features.child",
                    None,
                    past_the_calendar if n == 5 else None,
                )
            )
            for n in range(8)
        ),
        return_exceptions=True,
    )

    assert isinstance(outcomes.pop(5), asyncpg.DataError)
    assert outcomes == [None] * 7
    started = await database.fetch("select wf_id from grctl.runs order by wf_id")
    assert [row["wf_id"] for row in started] == [f"w{n}" for n in range(8) if n != 5]
