"""Whether the work is in the database: asked by the suite, not by whoever did it."""

from __future__ import annotations

import asyncpg

# Runs that ended well, and tasks whose outcomes are recorded, of those whose name begins so.
# `~` comes after every character that a name has.
_COUNTS = {
    "grctl": """
        select
            (select count(*) from grctl.runs r
             where r.wf_id >= $1 and r.wf_id < $1 || '~' and r.status = 'completed'),
            (select count(*) from grctl.runs r join grctl.events e on e.run_id = r.run_id
             where r.wf_id >= $1 and r.wf_id < $1 || '~' and e.kind = 'task.completed')
    """,
    "dbos": """
        select
            (select count(*) from dbos.workflow_status s
             where s.workflow_uuid like $1 || '%' and s.status = 'SUCCESS'),
            (select count(*) from dbos.operation_outputs o
             where o.workflow_uuid like $1 || '%' and o.function_name similar to '(noop|give|slow)')
    """,
    "absurd": """
        select
            (select count(*) from absurd.t_bench t
             where t.params ->> 'run' like $1 || '%' and t.state = 'completed')
            + (select count(*) from absurd.t_children t
               where t.params ->> 'run' like $1 || '%' and t.state = 'completed'),
            (select count(*) from absurd.t_bench t join absurd.c_bench c on c.task_id = t.task_id
             where t.params ->> 'run' like $1 || '%'
                and c.checkpoint_name similar to '(noop|give|slow)%')
    """,
}
_COUNTS["dbos-queue"] = _COUNTS["dbos"]
_RECORDED = {
    "grctl": """
        select r.wf_id, count(*)
        from grctl.runs r join grctl.events e on e.run_id = r.run_id
        where e.kind = 'task.completed' group by 1
    """,
    "dbos": """
        select o.workflow_uuid, count(*) from dbos.operation_outputs o
        where o.function_name = 'slow' group by 1
    """,
    "absurd": """
        select t.params ->> 'run', count(*)
        from absurd.t_bench t join absurd.c_bench c on c.task_id = t.task_id group by 1
    """,
}


class NotThereError(Exception):
    """The driver said it was done, and the database does not have it."""


async def counted(subject: str, url: str, prefix: str) -> tuple[int, int]:
    """Runs that ended well, and tasks that are recorded, of those whose name begins so."""
    connection = await asyncpg.connect(url)
    try:
        row = await connection.fetchrow(_COUNTS[subject], prefix)
    finally:
        await connection.close()
    assert row is not None
    return row[0], row[1]


async def recorded(subject: str, url: str) -> dict[str, int]:
    """By run, how many of its tasks are recorded; of a database with one workload alone."""
    connection = await asyncpg.connect(url)
    try:
        return {row[0]: row[1] for row in await connection.fetch(_RECORDED[subject])}
    finally:
        await connection.close()


async def verify(subject: str, url: str, prefix: str, runs: int, tasks: int) -> None:
    """Check that so many runs and tasks of this name are recorded.

    Raises:
        NotThereError: more or fewer are.
    """
    found = await counted(subject, url, prefix)
    if found != (runs, tasks):
        raise NotThereError(
            f"{subject}, {prefix}: expected {runs} runs and {tasks} tasks in the database, "
            f"found {found[0]} and {found[1]}"
        )
