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
update grctl.workers
set lease_until = grctl.now() + lease_seconds * interval '1 second'
where worker_no = $1 and ended_at is null
returning exists (
    select from grctl.workers o where o.ended_at is null and o.lease_until < grctl.now()
) as others_lost

-- name: take_over
select lost_worker, lost_id, freed
from grctl.take_over()

-- name: stop
select grctl.release_worker($1::bigint, 'stopped')
