-- name: start
select run, why, created_at
from grctl.start_runs($1::grctl.new_run[], $2::bigint)

-- name: claim
-- The worker's row is locked first: a take-over of this worker waits for the claim and then sees
-- its runs, or comes before it and leaves nothing to claim with. Materialized and ordered: an
-- IN (… LIMIT … SKIP LOCKED) can claim more than its limit under a nested loop.
with me as materialized (
    select worker_no
    from grctl.workers
    where worker_no = $1 and ended_at is null
    for share
),
found as materialized (
    select r.run_id, r.status, r.wake_at, r.crashes >= 3 as suspect
    from me
    cross join unnest($2::text[]) as t(wf_type)
    cross join lateral (
        select o.run_id, o.status, o.wake_at, o.crashes
        from grctl.runs o
        where o.wf_type = t.wf_type and o.wake_at <= grctl.now()
            -- What was claimed lately is dead in the index, and cannot be removed while anybody
            -- holds an older snapshot: begin behind it.
            and o.wake_at >= coalesce($4::timestamptz, '-infinity')
        order by o.wake_at
        limit $3
        for no key update skip locked
    ) as r
    order by r.wake_at
    limit $3
),
due as (
    -- A step that was running at three crashes is a suspect. It is claimed alone, and for a while
    -- the worker claims nothing else, so that the next crash tells (see release_worker).
    select f.run_id, f.status, f.wake_at
    from (
        select s.*, row_number() over in_turn as n, first_value(s.suspect) over in_turn as alone
        from found s
        window in_turn as (order by s.wake_at)
    ) as f
    where case when f.alone then f.n = 1 else not f.suspect end
)
update grctl.runs r
set owner = $1,
    epoch = r.epoch + 1,
    claimed_at = grctl.now(),
    status = 'running',
    cause = case
        when r.deadline_at <= grctl.now() then 'run_timeout'
        when r.status <> 'running' and r.cancel_requested_at is not null then 'cancel'
        when r.status = 'scheduled' then 'start'
        when r.status in ('running', 'delayed') then r.cause
        when r.inbox_tail > r.inbox_head then 'event'
        else 'timeout'
    end,
    wake_at = null,
    started_at = coalesce(r.started_at, grctl.now())
from due
where r.run_id = due.run_id
returning
    r.run_id, r.wf_id, r.wf_type, r.epoch, due.status as was, due.wake_at as was_due, r.cause,
    r.step_no, r.step_name, r.step_attempt, r.step_seq, r.next_seq, r.crashes,
    r.inbox_head, r.wait_step, r.input, r.created_at,
    extract(epoch from r.deadline_at - grctl.now())::float8 as seconds_left,
    r.cancel_requested_at is not null as cancel_requested, r.cancel_reason,
    r.parent_run_id, r.parent_step, r.trace, grctl.now() as now,
    (select p.wf_id from grctl.runs p where p.run_id = r.parent_run_id) as parent_wf_id,
    (select p.wf_type from grctl.runs p where p.run_id = r.parent_run_id) as parent_wf_type

-- name: next_due
-- Seconds until the earliest run of these types is due (null if none will be by itself), and
-- whether something else is to be done that a notification may have failed to say.
select extract(epoch from min(r.wake_at) - grctl.now())::float8 as seconds,
    exists (
        select
        from grctl.queries q
        where q.wf_type = any($1::text[]) and q.answer is null and q.error is null
            and (q.taken_at is null or q.taken_at < grctl.now() - interval '5 seconds')
            and q.expires_at > grctl.now()
    ) as queries,
    exists (select from grctl.closings) as closings
from unnest($1::text[]) as t(wf_type)
cross join lateral (
    select o.wake_at
    from grctl.runs o
    where o.wf_type = t.wf_type and o.wake_at is not null
    order by o.wake_at
    limit 1
) as r

-- name: release
select grctl.release_runs($1::bigint, $2::uuid[], $3::integer[])

-- name: fail
select grctl.fail_run($1::bigint, $2::uuid, $3::integer, $4::json)

-- name: overlooked
-- Of a worker's runs, what it may not have been told: a cancel that was asked for, and a claim
-- whose answer was lost (what it does hold is $2).
select run_id, epoch, run_id <> all($2::uuid[]) as is_unheld
from grctl.runs
where owner = $1 and (cancel_requested_at is not null or run_id <> all($2::uuid[]))

-- name: cancel
select grctl.cancel_run($1::uuid, $2::text)

-- name: terminate
select grctl.terminate_run($1::uuid, $2::text)

-- name: close_child
select grctl.close_child()

-- name: retry
select grctl.retry_run($1::uuid)

-- name: outcomes
-- Of these runs, those that have ended, and those that are not there (no status): deleted, if they
-- ever were. One that continued as new has its outcome from the last run of its chain: `successor`
-- is where to look.
select g.run_id, r.status, r.result, r.error, r.step_name,
    case when r.status = 'continued' then grctl.last_run(r.run_id) end as successor
from unnest($1::uuid[]) as g(run_id)
left join grctl.runs r on r.run_id = g.run_id
where r.run_id is null or r.ended_at is not null

-- name: last
select grctl.last_run($1)

-- name: latest
select grctl.latest_run($1)

-- name: describe
select
    r.*, w.worker_id, p.wf_id as parent_wf_id, p.wf_type as parent_wf_type,
    coalesce(r.step_name, case when r.step_no = 1 then t.start_step end) as current_step
from grctl.runs r
left join grctl.workers w on w.worker_no = r.owner
left join grctl.runs p on p.run_id = r.parent_run_id
left join grctl.workflow_types t on t.wf_type = r.wf_type
where r.run_id = $1
