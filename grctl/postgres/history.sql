-- name: steps
-- The history of the runs' current steps. A statement of its own, after the claim: what a former
-- owner committed between a claim's snapshot and its lock would be missed in one with it.
select
    e.run_id, e.epoch, e.seq, e.step_no, e.step_attempt, e.kind, e.op, e.name, e.place, e.attempt,
    e.micros, e.input, e.body, e.batch, extract(epoch from grctl.now() - e.at)::float8 as age
from unnest($1::uuid[], $2::integer[]) as s(run_id, step_seq)
-- `offset 0`: by the key, run by run, never by a hash of the whole table.
cross join lateral (
    select *
    from grctl.events o
    where o.run_id = s.run_id and o.seq >= s.step_seq
    offset 0
) as e
order by e.run_id, e.seq

-- name: page
-- A run's rows after a seq, oldest first.
select
    e.run_id, e.epoch, e.seq, e.step_no, e.step_attempt, e.kind, e.op, e.name, e.place, e.attempt,
    e.micros, e.input, e.body, e.batch, e.at, w.worker_id
from grctl.events e
left join grctl.workers w on w.worker_no = e.worker_no
where e.run_id = $1 and e.seq > $2
order by e.seq
limit $3

-- name: run
-- What a run's own row adds to its history; the id's latest run if none is named. A run that waits
-- and is executed has the message in its inbox until the step ends.
select
    r.run_id, r.wf_id, r.status, r.cause, r.created_at, r.started_at, r.cancel_requested_at,
    coalesce(r.step_name, case when r.step_no = 1 then t.start_step end) as step_name, r.wait_step,
    w.worker_id, m.kind as message_kind, m.name as message_name, m.payload as message_payload, m.sent_at as message_at,
    r.input, r.result
from grctl.runs r
left join grctl.workflow_types t on t.wf_type = r.wf_type
left join grctl.workers w on w.worker_no = r.owner
left join lateral (
    select i.kind, i.name, i.payload, i.sent_at
    from grctl.inbox i
    where i.run_id = r.run_id and i.no > r.inbox_head
    order by i.no
    limit 1
) as m on true
where r.wf_id = $1 and r.run_id = coalesce($2::uuid, grctl.latest_run($1))

-- name: mark
-- Changes whenever the run's history does; for whoever follows it.
select
    r.status, r.cause, r.step_no, r.epoch, r.inbox_head, r.cancel_requested_at,
    (select max(e.seq) from grctl.events e where e.run_id = r.run_id) as last_seq
from grctl.runs r
where r.run_id = $1
