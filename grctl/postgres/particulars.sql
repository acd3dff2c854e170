-- name: children
select r.run_id, r.wf_id, r.wf_type, r.status, r.created_at, r.ended_at, r.parent_run_id
from grctl.runs r
where r.parent_run_id = $1
order by r.run_id
limit $2

-- name: ancestors
-- The parents of a run, the nearest first.
with recursive line as (
    select r.parent_run_id as run_id, 1 as depth
    from grctl.runs r
    where r.run_id = $1
    union all
    select r.parent_run_id, l.depth + 1
    from line l
    join grctl.runs r on r.run_id = l.run_id
    where l.depth < 20
)
select l.depth, r.run_id, r.wf_id, r.wf_type, r.status, r.created_at, r.ended_at
from line l
join grctl.runs r on r.run_id = l.run_id
order by l.depth

-- name: grandchildren
-- A few of the children of each of these runs.
select c.run_id, c.wf_id, c.wf_type, c.status, c.created_at, c.ended_at, c.parent_run_id
from unnest($1::uuid[]) as p(run_id)
cross join lateral (
    select r.run_id, r.wf_id, r.wf_type, r.status, r.created_at, r.ended_at, r.parent_run_id
    from grctl.runs r
    where r.parent_run_id = p.run_id
    order by r.run_id
    limit $2
) as c

-- name: others
-- The latest runs of a workflow id.
select r.run_id, r.wf_id, r.wf_type, r.status, r.created_at, r.ended_at
from grctl.runs r
where r.wf_id = $1
order by r.run_id desc
limit $2

-- name: inbox
-- What was sent and not handled yet; of a long payload its beginning.
select
    i.no, i.kind, i.name, i.sent_at, left(i.payload::text, $2) as payload,
    length(i.payload::text) as length
from grctl.runs r
join grctl.inbox i on i.run_id = r.run_id and i.no > r.inbox_head
where r.run_id = $1
order by i.no
limit $3

-- name: store
-- What the run has stored; of a long value its beginning.
select s.key, left(s.value::text, $2) as value, length(s.value::text) as length
from grctl.store s
where s.run_id = $1
order by s.key
limit $3

-- name: stored
select s.value::text from grctl.store s where s.run_id = $1 and s.key = $2

-- name: sent
select i.payload::text from grctl.inbox i where i.run_id = $1 and i.no = $2

-- name: recorded
-- The input and the outcome of one row of a run's history, as they were recorded.
select e.input::text, e.body::text from grctl.events e where e.run_id = $1 and e.seq = $2

-- name: names
select start_step, event_names, query_names, update_names
from grctl.workflow_types
where wf_type = $1
