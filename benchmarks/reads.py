"""`python -m benchmarks.reads`: what the dashboard's pages and `grctl top` read of a million runs.

Each page is asked for by its address, as a browser does; pg_stat_statements says what its
statements cost the server. The rows are made by SQL, not by workers: it is reads that count here.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import asyncpg
import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.server import Server, running
from grctl.client import Client, Connection
from grctl.postgres import migrations
from grctl.postgres.top import View, look_at
from grctl.settings import load_settings
from grctl.web.app import make_app

HOST = "http://localhost:8233"
ROUNDS = 5
"""A page is asked for so often; its cheapest round counts, as on a server that has run a while."""

PAGES = {
    "Overview, 15 minutes": "/?window=15m",
    "Overview, an hour": "/?window=1h",
    "Overview, 24 hours": "/?window=24h",
    "Runs": "/runs",
    "Runs of a type": "/runs?type=type.7",
    "Runs of no known type": "/runs?type=none",
    "Runs that completed": "/runs?status=completed",
    "Runs that failed": "/runs?status=failed",
    "Runs that were cancelled": "/runs?status=cancelled",
    "Runs that wait": "/runs?status=waiting",
    "Runs that are running": "/runs?status=running",
    "Runs of a day three weeks ago": "/runs?since=22d&until=21d",
    "Runs by workflow id": "/runs?id=order-500000",
    "Runs by the beginning of an id": "/runs?id=order-77*",
    "Runs with a text": "/runs?text=Harbour+Street+13",
    "Runs with a text that none has": "/runs?text=nowhere",
    "A completed run": "/runs/{completed}",
    "A failed run": "/runs/{failed}",
    "A waiting run": "/runs/{waiting}",
    "Is there news of a run?": "/runs/{waiting}/mark",
    "Workers": "/workers",
    "Types": "/types",
}
VIEWS: tuple[View, ...] = ("running", "due", "timers", "latest")

# A tenth as many open runs as ended ones, of 20 types, over 30 days; the newest are the open ones.
_ROWS = """
insert into grctl.workflow_types
select 'type.' || n, 'begin', '{begin}', '{note}', '{}', '{}' from generate_series(0, 19) as n;

insert into grctl.workers (
    worker_id, worker_name, wf_types, concurrency, lease_seconds, lease_until)
select 'worker-' || n, 'worker', '{type.0}', 500, 3600, now() + interval '1 hour'
from generate_series(1, 10) as n;

insert into grctl.runs (
    run_id, wf_id, wf_type, status, owner, epoch, claimed_at, wake_at, cause, step_name, next_seq,
    created_at, started_at, ended_at, input, result, error)
select
    (lpad(to_hex((extract(epoch from t) * 1000)::bigint), 12, '0') || '7'
        || lpad(to_hex(n % 4096), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))::uuid,
    'order-' || n, 'type.' || n % 20,
    case
        when is_open then (array['waiting', 'waiting', 'scheduled', 'delayed'])[1 + n % 4]
        when n % 100 = 0 then 'failed' when n % 1000 = 7 then 'timed_out' else 'completed'
    end,
    null, 1, null,
    case when is_open and n % 4 > 0 then now() + (n % 4 - 2.5) * interval '1 hour' end,
    'start', null, 3, t, t, case when not is_open then t + interval '1 s' end,
    json_build_object('order', n, 'address', 'Harbour Street ' || n % 97),
    case when not is_open then json_build_object('delivered', n) end,
    case when not is_open and n % 100 = 0
        then json_build_object('step', 'begin', 'error', json_build_object(
            'type', 'Odd' || n % 300, 'message', 'no such street')) end
from generate_series(1, {ended} + {open}) as n
cross join lateral (
    select
        n > {ended} as is_open,
        now() - interval '30 days' * (1 - n::float8 / ({ended} + {open})) as t
) as made;

update grctl.runs
set status = 'running', owner = 1 + abs(hashtext(wf_id)) % 10, claimed_at = now(), wake_at = null
where run_id in (select run_id from grctl.runs order by run_id desc limit 1000);

insert into grctl.events (
    run_id, seq, step_no, step_attempt, kind, op, name, attempt, micros, batch, epoch, worker_no,
    at, input, body)
select
    r.run_id, e.seq, 1, 1, e.kind, e.op, e.name, 1, 1000, 1, 1, 1, r.created_at, e.input::json,
    e.body::json
from grctl.runs r
cross join (values
    (1, 'task.completed', '1', 'weigh', '{"item":"book"}', '250'),
    (2, 'step.completed', null, 'begin', null, '{"next":"complete","cause":"start"}')
) as e(seq, kind, op, name, input, body)
where r.ended_at is not null;
"""
_COST = """
select
    sum(s.calls)::int as statements,
    sum(s.total_exec_time) as ms,
    sum(s.shared_blks_hit + s.shared_blks_read) as blocks,
    max(s.total_exec_time) as dearest_ms,
    (array_agg(s.query order by s.total_exec_time desc))[1] as dearest
from pg_stat_statements s
where s.dbid = (select oid from pg_database where datname = current_database())
    and s.query not like '%pg_stat_statements%'
"""


async def measure(server: Server, ended: int, opened: int) -> list[tuple[str, asyncpg.Record]]:
    """Of each page: what its statements cost."""
    url = await server.fresh("reads")
    await migrations.upgrade(url)
    session = await asyncpg.connect(url)
    await session.execute("create extension pg_stat_statements")
    rows = _ROWS.replace("{ended}", str(ended)).replace("{open}", str(opened))
    await session.execute(rows)
    for table in ("runs", "events", "workers", "workflow_types"):
        await session.execute(f"vacuum (analyze) grctl.{table}")
    await session.execute("alter database reads set pg_stat_statements.track = 'top'")
    measured = []
    settings = load_settings(database_url=url, pool_size=10)
    async with await Connection.connect(settings=settings) as connection:
        client = Client(connection)
        for name, ask in await _asked(session, client):
            measured.append((name, await _cheapest(session, ask)))
    await session.close()
    return measured


async def _asked(
    session: asyncpg.Connection[Any], client: Client
) -> list[tuple[str, Callable[[], Awaitable[object]]]]:
    async def page(path: str) -> None:
        # A dashboard of its own each time: one keeps the overview for a moment.
        app = make_app(client, client.database.settings)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url=HOST) as http:
            answer = await http.get(path, timeout=300)
        if answer.status_code != 200:
            raise RuntimeError(f"{path}: {answer.status_code}")

    async def latest(status: str) -> str:
        sql = "select run_id from grctl.runs where status = $1 order by run_id desc limit 1"
        return str(await session.fetchval(sql, status))

    ids = {status: await latest(status) for status in ("completed", "failed", "waiting")}
    return [
        *((name, partial(page, path.format(**ids))) for name, path in PAGES.items()),
        *((f"`grctl top`, {view}", partial(look_at, client.database, view, 100)) for view in VIEWS),
    ]


async def _cheapest(
    session: asyncpg.Connection[Any], ask: Callable[[], Awaitable[object]]
) -> asyncpg.Record:
    rounds = []
    for _ in range(ROUNDS):
        await session.execute("select pg_stat_statements_reset()")
        await ask()
        cost = await session.fetchrow(_COST)
        assert cost is not None
        rounds.append(cost)
    return min(rounds, key=lambda cost: cost["ms"])


def main() -> None:
    """Measure, and print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reads", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000, help="ended runs (1,000,000)")
    parser.add_argument("--open", type=int, default=100_000, help="open runs (100,000)")
    parser.add_argument("--dearest", action="store_true", help="show each page's dearest statement")
    chosen = parser.parse_args()
    with running() as server:
        measured = asyncio.run(measure(server, chosen.runs, chosen.open))
    table = Table("Page", *("Statements", "Server, ms", "Blocks"))
    for name, cost in measured:
        table.add_row(name, str(cost["statements"]), f"{cost['ms']:.1f}", f"{cost['blocks']:,}")
        if chosen.dearest:
            what = " ".join(cost["dearest"].split())[:300]
            table.add_row(f"[dim]{what}", "", f"{cost['dearest_ms']:.1f}", "")
    Console().print(table)


if __name__ == "__main__":
    main()
