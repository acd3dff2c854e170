"""What tests look for in the tables."""

from __future__ import annotations

from tests.support import Database, wait_until


async def status_of(database: Database, wf_id: str) -> str | None:
    """The status of a workflow id's latest run."""
    sql = "select status from grctl.runs where wf_id = $1 order by run_id desc limit 1"
    found: str | None = await database.fetchval(sql, wf_id)
    return found


async def has_status(database: Database, wf_id: str, status: str) -> None:
    """Until the latest run of a workflow id has this status."""

    async def has() -> bool:
        return await status_of(database, wf_id) == status

    await wait_until(has, f"{wf_id} is {status}")


async def kinds_of(database: Database, wf_id: str) -> list[str]:
    """The kinds of the rows of a workflow id's history, all its runs."""
    rows = await database.fetch(
        "select e.kind from grctl.events e join grctl.runs r using (run_id) where r.wf_id = $1 "
        "order by r.run_id, e.seq",
        wf_id,
    )
    return [row["kind"] for row in rows]


async def count(database: Database, table: str, where: str = "true") -> int:
    """How many rows of a table."""
    found: int = await database.fetchval(f"select count(*) from grctl.{table} where {where}")
    return found
