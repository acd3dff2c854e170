"""Reads of the dashboard look at a bounded number of rows, however many there are."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from sqlalchemy.dialects.postgresql import asyncpg as postgresql

from grctl.models.run import RunStatus
from grctl.postgres.database import Database
from grctl.postgres.overview import SAMPLE, read_overview
from grctl.postgres.search import LOOKED, RunSearch, search, statement

RUNS = 60_000


@pytest.fixture
async def many(settings, database):
    """Runs of the last ten minutes, each 1,000th of them failed, and no statistics missing."""
    await database.execute(
        f"""
        insert into grctl.runs (
            run_id, wf_id, wf_type, status, created_at, started_at, ended_at, error)
        select
            (lpad(to_hex((extract(epoch from t) * 1000)::bigint), 12, '0') || '7'
                || lpad(to_hex(n % 4096), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))::uuid,
            'r-' || n, 'bulk', case when n % 1000 = 0 then 'failed' else 'completed' end, t, t, t,
            case when n % 1000 = 0 then '{{"step": "s", "error": {{"type": "Odd"}}}}'::json end
        from generate_series(1, {RUNS}) as n
        cross join lateral (
            select grctl.now() - (({RUNS} - n) * interval '10 ms') as t
        ) as made
        """
    )
    await database.execute("analyze grctl.runs")
    made = Database(settings)
    await made.open()
    yield made
    await made.close()


def rows_read(plan: dict) -> list[tuple[str, float]]:
    """Scans of the plan, and how many rows each gave and threw away."""
    own = []
    if "Scan" in plan["Node Type"] and plan.get("Relation Name") == "runs":
        rows = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        own = [(plan["Node Type"], rows * plan["Actual Loops"])]
    return own + [each for child in plan.get("Plans", []) for each in rows_read(child)]


@pytest.mark.parametrize(
    "wanted",
    [
        RunSearch(),
        RunSearch(wf_type="no such type"),
        RunSearch(statuses=[RunStatus.TIMED_OUT]),
        RunSearch(statuses=[RunStatus.FAILED]),
        RunSearch(statuses=[RunStatus.WAITING]),
        RunSearch(wf_id="r-17"),
        RunSearch(id_prefix="no such id"),
    ],
    ids=["all", "type", "status", "failed", "open", "id", "prefix"],
)
async def test_a_search_reads_a_bounded_number_of_runs(many, wanted):
    built = statement(many.schema, wanted, 51, LOOKED).compile(
        dialect=postgresql.dialect(), compile_kwargs={"render_postcompile": True}
    )
    given = [built.params[name] for name in built.positiontup or ()]
    answer = await many.pool.fetchval(f"explain (analyze, format json) {built}", *given)
    scans = rows_read(json.loads(answer)[0]["Plan"])
    assert scans
    assert all(kind != "Seq Scan" for kind, _ in scans), scans
    assert sum(rows for _, rows in scans) <= LOOKED, scans


async def test_a_search_that_stops_says_where_and_goes_on_from_there(many):
    wanted, found = RunSearch(id_prefix="r-1", text=None), []
    rounds, before = 0, None
    while True:
        page = await search(many, RunSearch(id_prefix="r-17", before=before), 500)
        found += [row["wf_id"] for row in page.runs]
        rounds, before = rounds + 1, page.rest
        if before is None:
            break
    assert wanted.id_prefix
    assert len(found) == len(set(found)) == 1 + 10 + 100 + 1000
    assert rounds > RUNS // LOOKED


async def test_failed_runs_are_found_without_a_look_at_the_others(many):
    page = await search(many, RunSearch(statuses=[RunStatus.FAILED]), 1000)
    assert len(page.runs) == RUNS // 1000
    assert page.rest is None


async def test_the_overview_reckons_where_it_does_not_count(many):
    found = await read_overview(many, timedelta(minutes=15), 45)
    assert found.is_reckoned
    total = sum(found.by_status.values())
    assert RUNS * 0.9 < total < RUNS * 1.1
    assert [(row["error"], row["runs"]) for row in found.failures] == [("Odd", RUNS // 1000)]
    assert len(found.periods) == 45
    assert SAMPLE * 45 < RUNS
