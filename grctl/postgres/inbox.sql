-- name: oldest
-- The oldest unhandled message of each of these runs.
select r.run_id, i.no, i.kind, i.name, i.payload, i.message_id, i.trace
from unnest($1::uuid[], $2::integer[]) as r(run_id, head)
-- By the key, one row a run, however many wait behind it.
cross join lateral (
    select m.no, m.kind, m.name, m.payload, m.message_id, m.trace
    from grctl.inbox m
    where m.run_id = r.run_id and m.no > r.head
    order by m.no
    limit 1
) as i

-- name: send
-- One message to the open run of a workflow id. The type's registration is asked too, so that a
-- name that nobody handles is refused here.
with target as materialized (
    select r.run_id, r.wf_type
    from grctl.runs r
    where r.run_id = $1 and r.ended_at is null
),
known as materialized (
    select t.run_id
    from target t
    join grctl.workflow_types w on w.wf_type = t.wf_type
    where $3 = any(case $2 when 'update' then w.update_names else w.event_names end)
)
select
    exists (select from target) as open,
    exists (select from known) as known,
    (select array_agg(place) from known
        cross join lateral grctl.deliver(
            array[known.run_id], array[$2::text], array[$3::text], array[$4::text], array[$5::uuid], $6::text
        ) as place) is not null as delivered

-- name: answer
-- What became of an update: its answer, or whether the run can still give one.
select a.answer, a.error, a.message_id is not null as answered, r.ended_at is not null as ended
from grctl.runs r
left join grctl.answers a on a.message_id = $2
where r.run_id = grctl.last_run($1)
