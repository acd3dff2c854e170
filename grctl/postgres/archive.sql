-- name: types
-- The workflow types of these runs.
select t.*
from grctl.workflow_types t
where t.wf_type in (select r.wf_type from grctl.runs r where r.run_id = any($1::uuid[]))
order by t.wf_type

-- name: workers
-- The workers that wrote their history.
select w.*
from grctl.workers w
where w.worker_no in (select e.worker_no from grctl.events e where e.run_id = any($1::uuid[]))
order by w.worker_no

-- name: runs
-- The runs that are still what they were when they were chosen, and how many rows each has elsewhere.
select r.*,
    (select count(*) from grctl.events e where e.run_id = r.run_id)
        + (select count(*) from grctl.store s where s.run_id = r.run_id)
        + (select count(*) from grctl.inbox i where i.run_id = r.run_id)
        + (select count(*) from grctl.answers a where a.run_id = r.run_id) as lines
from unnest($1::uuid[], $2::timestamptz[]) as c(run_id, ended_at)
join grctl.runs r on r.run_id = c.run_id and r.ended_at = c.ended_at
order by r.run_id

-- name: events
select e.* from grctl.events e where e.run_id = any($1::uuid[]) order by e.run_id, e.seq

-- name: store
select s.* from grctl.store s where s.run_id = any($1::uuid[]) order by s.run_id, s.key

-- name: inbox
select i.* from grctl.inbox i where i.run_id = any($1::uuid[]) order by i.run_id, i.no

-- name: answers
select a.* from grctl.answers a where a.run_id = any($1::uuid[]) order by a.run_id, a.message_id

-- name: put_type
insert into grctl.workflow_types
select t.*
from json_populate_record(null::grctl.workflow_types, $1::json) as t
on conflict do nothing

-- name: put_worker
-- A worker by what it was called and when it began; its number here.
with given as (
    select * from json_populate_record(null::grctl.workers, $1::json)
),
known as (
    select w.worker_no
    from grctl.workers w
    join given g on w.worker_id = g.worker_id and w.started_at = g.started_at
),
put as (
    insert into grctl.workers (
        worker_id, worker_name, wf_types, concurrency, lease_seconds, lease_until, started_at,
        ended_at, end_reason)
    select
        g.worker_id, g.worker_name, g.wf_types, g.concurrency, g.lease_seconds, g.lease_until,
        g.started_at, coalesce(g.ended_at, grctl.now()), coalesce(g.end_reason, 'stopped')
    from given g
    where not exists (select from known)
    returning worker_no
)
select worker_no from known
union all
select worker_no from put

-- name: known
-- Of these runs, those that are there.
select r.run_id, r.ended_at, r.next_seq
from grctl.runs r
where r.run_id = any($1::uuid[])
