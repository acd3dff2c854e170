-- name: buckets
-- Runs by status in spans of time, each given by the least run id at its begin and at its end. Of a
-- span at most $3 runs are looked at, its first ones: `last` is the latest of them.
select b.n, r.status, count(*) as runs, max(r.run_id::text collate "C") as last
from unnest($1::uuid[], $2::uuid[]) with ordinality as b(low, high, n)
cross join lateral (
    select o.run_id, o.status
    from grctl.runs o
    where o.run_id >= b.low and o.run_id < b.high
    order by o.run_id
    limit $3
) as r
group by b.n, r.status

-- name: open
-- Open runs by status: those with a time, those that a worker has, and those that wait without a
-- time; of each $1 at most.
select o.status, count(*) as runs, count(*) filter (where o.wake_at <= grctl.now()) as due
from (
    (select r.status, r.wake_at from grctl.runs r where r.wake_at is not null limit $1)
    union all
    (select r.status, r.wake_at from grctl.runs r where r.owner is not null limit $1)
    union all
    (
        select r.status, r.wake_at
        from grctl.runs r
        where r.wake_at is null and r.owner is null and r.ended_at is null
        limit $1
    )
) as o
group by o.status

-- name: oldest
-- The open runs that were started first, of those that the statement above counts.
select
    r.run_id, r.wf_id, r.wf_type, r.status, r.created_at,
    coalesce(r.step_name, case when r.step_no = 1 then t.start_step end) as step_name
from (
    select o.run_id
    from (
        (select r.run_id from grctl.runs r where r.wake_at is not null limit $1)
        union all
        (select r.run_id from grctl.runs r where r.owner is not null limit $1)
        union all
        (
            select r.run_id
            from grctl.runs r
            where r.wake_at is null and r.owner is null and r.ended_at is null
            limit $1
        )
    ) as o
    order by o.run_id
    limit $2
) as f
join grctl.runs r on r.run_id = f.run_id
left join grctl.workflow_types t on t.wf_type = r.wf_type
order by r.run_id

-- name: due
-- By type, the run that has been due for longest, and how many seconds.
select
    t.wf_type, r.run_id, r.wf_id,
    extract(epoch from grctl.now() - r.wake_at)::float8 as late
from grctl.workflow_types t
cross join lateral (
    select o.run_id, o.wf_id, o.wake_at
    from grctl.runs o
    where o.wf_type = t.wf_type and o.wake_at <= grctl.now()
    order by o.wake_at
    limit 1
) as r
order by r.wake_at
limit 8

-- name: failures
-- Of the latest $2 runs that failed or timed out, and whose id is not less than $1: by type and
-- error. A run that its own timeout ended has none.
select
    f.wf_type, f.status, f.type as error, f.step, count(*) as runs, max(f.ended_at) as latest_at,
    (array_agg(f.run_id order by f.run_id desc))[1] as latest_run
from (
    select
        r.run_id, r.wf_type, r.status, r.ended_at,
        coalesce(r.error -> 'error' ->> 'type', r.error ->> 'type', '') as type,
        coalesce(r.error ->> 'step', '') as step
    from grctl.runs r
    where (r.error is not null or r.status = 'timed_out') and r.run_id >= $1
    order by r.run_id desc
    limit $2
) as f
group by f.wf_type, f.status, f.type, f.step
order by count(*) desc, max(f.ended_at) desc
limit 12

-- name: now
select grctl.now()
