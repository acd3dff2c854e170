"""Reads of the dashboard look at a bounded number of rows, however many there are."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import pytest_asyncio
from sqlalchemy.dialects.postgresql import asyncpg as postgresql

from grctl.ids import first_run_id
from grctl.models.run import RunStatus
from grctl.postgres.database import Database
from grctl.postgres.overview import MOST_OPEN, SAMPLE, read_overview
from grctl.postgres.search import LOOKED, RunSearch, search, statement
from grctl.settings import load_settings
from tests.conftest import fresh_database

RUNS = 60_000


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def many(server_url, template):
    """Runs of the last ten minutes with two events each, and no statistics missing.

    Each 1,000th of them failed. All tests read the same ones.
    """
    async for database in fresh_database(server_url, template):
        await fill(database)
        made = Database(load_settings(database_url=database.dsn))
        await made.open()
        yield made
        await made.close()


async def fill(database):
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
    await database.execute(
        """
        insert into grctl.events (run_id, seq, step_no, step_attempt, kind, batch, epoch)
        select r.run_id, e.seq, 1, 1, e.kind, 1, 1
        from grctl.runs r
        cross join (values (1, 'timestamp.recorded'), (2, 'step.completed')) as e(seq, kind);

        insert into grctl.workflow_types values ('bulk', 's', '{s}', '{}', '{}', '{}');

        analyze grctl.runs;
        analyze grctl.events;
        """
    )


def rows_read(plan: dict) -> list[tuple[str, float]]:
    """Scans of runs and events, and how many rows each gave and threw away."""
    own = []
    if "Scan" in plan["Node Type"] and plan.get("Relation Name") in ("runs", "events"):
        rows = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        own = [(plan["Node Type"], rows * plan["Actual Loops"])]
    return own + [each for child in plan.get("Plans", []) for each in rows_read(child)]


async def scans_of(many: Database, sql: str, *given: object) -> list[tuple[str, float]]:
    answer = await many.pool.fetchval(f"explain (analyze, format json) {sql}", *given)
    return rows_read(json.loads(answer)[0]["Plan"])


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
    scans = await scans_of(many, str(built), *given)
    assert scans
    assert all(kind != "Seq Scan" for kind, _ in scans), scans
    assert sum(rows for _, rows in scans) <= LOOKED, scans


# Of the statements of a page: their arguments, and how many rows each may read.
OVERVIEW = {
    "buckets": (45 * SAMPLE, "lows", "highs", SAMPLE),
    "open": (3 * MOST_OPEN, MOST_OPEN),
    "oldest": (3 * MOST_OPEN, MOST_OPEN, 8),
    "due": (1,),
    "failures": (2_000, "first", 2_000),
}
RUN = {
    ("runs", "describe"): ("run_id",),
    ("history", "page"): ("run_id", 0, 1_000),
    ("history", "run"): ("wf_id", "run_id"),
    ("history", "mark"): ("run_id",),
    ("particulars", "children"): ("run_id", 100),
    ("particulars", "ancestors"): ("run_id",),
    ("particulars", "grandchildren"): ("run_ids", 5),
    ("particulars", "others"): ("wf_id", 12),
    ("particulars", "inbox"): ("run_id", 100, 50),
    ("why", "run"): ("wf_id", "run_id", 1_000),
    ("why", "servers"): ("wf_type",),
    ("why", "operations"): ("run_id", 20),
    ("why", "children"): ("run_id", 20),
}


@pytest.mark.parametrize("name", OVERVIEW)
async def test_the_overview_reads_a_bounded_number_of_runs(many, name):
    now = await many.fetchval("overview", "now")
    ids = [first_run_id(now - timedelta(minutes=15) * n / 45) for n in range(45, -1, -1)]
    values = {"lows": ids[:-1], "highs": ids[1:], "first": ids[0]}
    most, *given = OVERVIEW[name]
    scans = await scans_of(
        many, many.sql("overview", name), *(values.get(each, each) for each in given)
    )
    assert scans
    assert all(kind != "Seq Scan" for kind, _ in scans), scans
    assert sum(rows for _, rows in scans) <= most, scans


@pytest.mark.parametrize(("file", "name"), RUN)
async def test_the_page_of_a_run_reads_what_belongs_to_it(many, file, name):
    run = await many.pool.fetchrow("select * from grctl.runs where wf_id = 'r-30000'")
    values = {**run, "run_ids": [run["run_id"]]}
    scans = await scans_of(
        many, many.sql(file, name), *(values.get(each, each) for each in RUN[file, name])
    )
    assert all(kind != "Seq Scan" for kind, _ in scans), scans
    assert sum(rows for _, rows in scans) <= 8, scans


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
