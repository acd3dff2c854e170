-- name: ask
-- May be asked again, as long as there is no answer.
with asked as (
    insert into grctl.queries (query_id, run_id, wf_type, name, args, expires_at)
    values ($1, $2, $3, $4, $5::json, grctl.now() + $6::float8 * interval '1 second')
    on conflict do nothing
    returning wf_type
)
select pg_notify('grctl.query', wf_type) from asked

-- name: take
-- A question that was taken and not answered for a while is taken again: its worker may be gone.
-- One to a worker ($3) is that worker's alone.
update grctl.queries q
set taken_at = grctl.now()
where q.query_id in (
    select o.query_id
    from grctl.queries o
    where (o.worker_no = $3 or (o.worker_no is null and o.wf_type = any($1::text[])))
        and o.answer is null and o.error is null
        and (o.taken_at is null or o.taken_at < grctl.now() - interval '5 seconds')
        and o.expires_at > grctl.now()
    order by o.asked_at
    limit $2
    for update skip locked)
returning q.query_id, q.run_id, q.wf_type, q.worker_no, q.name, q.args

-- name: answer
with given as (
    update grctl.queries
    set answer = $2::json, error = $3::json
    where query_id = $1
    returning query_id
)
select grctl.notify_answered(array_agg(query_id)) from given

-- name: read
-- The answer, once it is there; the question goes with it, and others that nobody waits for.
delete from grctl.queries
where (query_id = $1 and (answer is not null or error is not null))
    or expires_at < grctl.now() - interval '1 minute'
returning query_id, answer, error

-- name: forget
delete from grctl.queries where query_id = $1

-- name: serving
-- Live workers that serve a type.
select count(*)
from grctl.workers
where ended_at is null and lease_until > grctl.now() and $1 = any(wf_types)

-- name: names
select event_names, query_names, update_names
from grctl.workflow_types
where wf_type = $1
