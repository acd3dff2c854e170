-- name: run
-- A run (the id's latest if none is named) and what stands beside it, one row. next_seq - 1 is the
-- row that ended the step before, or its failed attempt.
select
    grctl.now() as now, r.run_id, r.wf_id, r.wf_type, r.status, r.cause,
    coalesce(
        r.step_name,
        case when r.step_no = 1 then t.start_step end,
        case r.cause when 'event' then m.name when 'timeout' then r.wait_step end,
        '') as step_name,
    r.step_attempt, r.epoch, r.crashes,
    r.created_at, r.claimed_at, r.wake_at, r.wait_until, r.wait_step, r.deadline_at, r.ended_at,
    r.cancel_requested_at, r.cancel_reason, r.error, r.owner is not null as is_owned,
    w.worker_no as holder_no, w.worker_id as holder_id, w.lease_until as holder_lease_until,
    w.stalled_since as holder_stalled_since, w.stalled_in as holder_stalled_in,
    coalesce(t.event_names, '{}') as event_names, coalesce(t.update_names, '{}') as update_names,
    r.inbox_tail - r.inbox_head as unread,
    m.kind as message_kind, m.name as message_name, m.sent_at as message_at,
    e.kind as ending_kind, e.name as ending_name, e.at as ending_at, e.attempt as ending_attempt,
    case when e.kind = 'step.attempt_failed' then e.body end as ending_body,
    case when r.status = 'waiting' then (
        select d.at
        from grctl.events d
        where d.run_id = r.run_id and d.kind = 'step.completed'
        order by d.seq desc
        limit 1
    ) end as waits_since,
    case when r.wake_at <= grctl.now() then (
        select count(*)
        from (
            select
            from grctl.runs o
            where o.wf_type = r.wf_type and o.wake_at < r.wake_at
            limit $3
        ) as before
    ) else 0 end as ahead,
    (
        select count(*)
        from grctl.workers o
        where o.ended_at is null and o.lease_until > grctl.now() and o.worker_no is distinct from r.owner
    ) as others_up
from grctl.runs r
left join grctl.workflow_types t on t.wf_type = r.wf_type
left join grctl.workers w on w.worker_no = r.owner
left join grctl.events e on e.run_id = r.run_id and e.seq = r.next_seq - 1
left join lateral (
    select i.kind, i.name, i.sent_at
    from grctl.inbox i
    where i.run_id = r.run_id and i.no > r.inbox_head
    order by i.no
    limit 1
) as m on true
where r.wf_id = $1 and r.run_id = coalesce($2::uuid, grctl.latest_run($1))

-- name: servers
-- The live workers of a type, and how many runs each holds; where there is none, the last one.
with live as (
    select w.*
    from grctl.workers w
    where w.ended_at is null and w.lease_until > grctl.now() and $1 = any(w.wf_types)
),
shown as (
    select * from live
    union all
    (
        select w.*
        from grctl.workers w
        where $1 = any(w.wf_types) and not exists (select from live)
        order by w.worker_no desc
        limit 1
    )
)
select
    s.worker_id, s.concurrency, s.lease_until, s.ended_at, s.end_reason,
    s.ended_at is null and s.lease_until > grctl.now() as is_live,
    (select count(*) from grctl.runs r where r.owner = s.worker_no) as held
from shown s
order by s.worker_no

-- name: operations
-- What the current attempt of the step has begun and not ended: the last row of such a call is its
-- start, or an attempt that failed.
select s.kind, s.name, s.at, s.epoch, s.attempt, e.input, e.body, count(*) over () as open
from (
    select distinct on (o.op) o.op, o.seq, o.kind, o.name, o.at, o.epoch, o.attempt
    from grctl.runs r
    join grctl.events o on o.run_id = r.run_id and o.seq >= r.step_seq and o.step_attempt = r.step_attempt
    where r.run_id = $1 and o.op is not null
    order by o.op, o.seq desc
) as s
join grctl.events e on e.run_id = $1 and e.seq = s.seq
where s.kind in ('task.started', 'task.attempt_failed', 'sleep.recorded')
order by s.seq
limit $2

-- name: children
-- Its open children, the oldest first.
select c.wf_id, c.wf_type, c.status, c.parent_step as step, c.created_at, count(*) over () as open
from grctl.runs c
where c.parent_run_id = $1 and c.ended_at is null
order by c.run_id
limit $2
