-- name: register
with w as (
    insert into grctl.workers (worker_id, worker_name, wf_types, concurrency, lease_seconds, lease_until)
    values ($1, $2, $3::text[], $4, $5::float8, grctl.now() + $5::float8 * interval '1 second')
    returning worker_no
),
s as (
    insert into grctl.writers (worker_no, slot)
    select w.worker_no, n.slot
    from w
    cross join generate_series(0, $6::integer - 1) as n(slot)
)
select worker_no from w

-- name: renew
-- And, in the same round trip: is there a worker whose lease has ended? No row: ours was lost.
-- $2: for how many seconds its event loop has stood still, null if it moves; $3: its stack then.
update grctl.workers
set lease_until = grctl.now() + lease_seconds * interval '1 second',
    stalled_since = grctl.now() - $2::float8 * interval '1 second',
    stalled_in = $3::text[]
where worker_no = $1 and ended_at is null
returning exists (
    select from grctl.workers o where o.ended_at is null and o.lease_until < grctl.now()
) as others_lost

-- name: take_over
select lost_worker, lost_id, freed
from grctl.take_over()

-- name: stop
select grctl.release_worker($1::bigint, 'stopped')

-- name: list
-- For people: the workers that are up, or ended within the last hour ($1: or at any time).
select
    w.worker_id, w.worker_name as name,
    coalesce(w.end_reason, case when w.lease_until < grctl.now() then 'late' else 'up' end) as state,
    (select count(*) from grctl.runs r where r.owner = w.worker_no) as runs,
    w.concurrency, w.lease_seconds,
    greatest(0, extract(epoch from w.lease_until - grctl.now()))::float8 as lease_left,
    w.wf_types as types, w.started_at, w.ended_at
from grctl.workers w
where $1::boolean or w.ended_at is null or w.ended_at > grctl.now() - interval '1 hour'
order by w.ended_at is not null, w.worker_no desc
limit 1000
