-- name: ask
-- A question to the worker that holds a run ($4): what it does there.
with asked as (
    insert into grctl.queries (query_id, run_id, wf_type, worker_no, name, expires_at)
    values ($1, $2, $3, $4, 'activity', grctl.now() + $5::float8 * interval '1 second')
    returning worker_no, run_id
)
select pg_notify('grctl.worker', worker_no || ' ask ' || run_id) from asked
