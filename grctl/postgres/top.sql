-- name: running
-- Runs that workers hold, longest first: no more than all workers have slots for.
select
    r.run_id, r.wf_id, r.wf_type, r.status, r.step_attempt as attempt, w.worker_id,
    coalesce(r.step_name, case when r.step_no = 1 then t.start_step end) as step,
    extract(epoch from grctl.now() - r.claimed_at)::float8 as seconds
from grctl.runs r
left join grctl.workers w on w.worker_no = r.owner
left join grctl.workflow_types t on t.wf_type = r.wf_type
where r.owner is not null
order by r.claimed_at
limit $1

-- name: due
-- Runs that are due and nobody's, longest first.
select
    r.run_id, r.wf_id, r.wf_type, r.status, r.step_attempt as attempt, null as worker_id,
    coalesce(r.step_name, case when r.step_no = 1 then t.start_step end) as step,
    extract(epoch from grctl.now() - r.wake_at)::float8 as seconds
from grctl.workflow_types t
cross join lateral (
    select *
    from grctl.runs o
    where o.wf_type = t.wf_type and o.wake_at <= grctl.now()
    order by o.wake_at
    limit $1
) as r
order by r.wake_at
limit $1

-- name: timers
-- Runs that will be due by themselves, soonest first.
select
    r.run_id, r.wf_id, r.wf_type, r.status, r.step_attempt as attempt, null as worker_id,
    coalesce(r.step_name, r.wait_step) as step,
    extract(epoch from r.wake_at - grctl.now())::float8 as seconds
from grctl.workflow_types t
cross join lateral (
    select *
    from grctl.runs o
    where o.wf_type = t.wf_type and o.wake_at > grctl.now()
    order by o.wake_at
    limit $1
) as r
order by r.wake_at
limit $1

-- name: latest
-- The newest runs, whatever has become of them.
select
    r.run_id, r.wf_id, r.wf_type, r.status, r.step_attempt as attempt, w.worker_id,
    coalesce(r.step_name, case when r.step_no = 1 then t.start_step end) as step,
    extract(epoch from coalesce(r.ended_at, grctl.now()) - r.created_at)::float8 as seconds
from (select * from grctl.runs order by run_id desc limit $1) as r
left join grctl.workers w on w.worker_no = r.owner
left join grctl.workflow_types t on t.wf_type = r.wf_type
order by r.run_id desc

-- name: started
-- How many runs were started in the last ten seconds; 10,000 are counted at most.
select count(*)
from (
    select from grctl.runs r
    where r.run_id >= $1 and r.created_at > grctl.now() - interval '10 seconds'
    limit 10000
) as s
