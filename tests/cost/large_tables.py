"""Tables that are large: what was done, what waits, and a backlog that nobody serves."""

from __future__ import annotations

from tests.support import Database

DONE = 100_000
WAITING = 20_000
UNSERVED = 20_000
TABLES = ("runs", "events", "store", "inbox", "answers")

_FILL = f"""
create temporary table filler as
select gen_random_uuid() as run_id, n,
    case
        when n <= {DONE} then 'completed'
        when n <= {DONE + WAITING} then 'waiting'
        else 'scheduled'
    end as status
from generate_series(1, {DONE + WAITING + UNSERVED}) as n;

insert into grctl.runs (run_id, wf_id, wf_type, status, next_seq, ended_at, wake_at, result)
select run_id, 'filler-' || n,
    case when status = 'scheduled' then 'unserved' else 'bench.answers' end, status, 3,
    case when status = 'completed' then grctl.now() end,
    case when status = 'scheduled' then grctl.now() end,
    case when status = 'completed' then '1'::json end
from filler;

insert into grctl.events (run_id, seq, step_no, step_attempt, kind, name, batch, epoch, body)
select run_id, seq, 1, 1, 'task.completed', 'noop', 1, 1, '1'
from filler
cross join generate_series(1, 2) as seq
where status <> 'scheduled';

insert into grctl.store (run_id, key, value) select run_id, 'left', '1' from filler;

insert into grctl.inbox (run_id, no, kind, name)
select run_id, 1, 'event', 'ping' from filler where status = 'scheduled';

insert into grctl.answers (message_id, run_id)
select gen_random_uuid(), run_id from filler where status = 'completed';
"""


async def fill(database: Database, *, analyzed: bool) -> None:
    """Fill the tables, with or without statistics; autovacuum does not change that."""
    for table in TABLES:
        await database.execute(f"alter table grctl.{table} set (autovacuum_enabled = off)")
    await database.execute(_FILL)
    if analyzed:
        for table in TABLES:
            await database.execute(f"analyze grctl.{table}")
