-- name: steps
-- The history of the runs' current steps. A statement of its own, after the claim: what a former
-- owner committed between a claim's snapshot and its lock would be missed in one with it.
select
    e.run_id, e.epoch, e.seq, e.step_no, e.step_attempt, e.kind, e.op, e.name, e.place, e.attempt,
    e.micros, e.input, e.body, e.batch, extract(epoch from grctl.now() - e.at)::float8 as age
from unnest($1::uuid[], $2::integer[]) as s(run_id, step_seq)
join grctl.events e on e.run_id = s.run_id and e.seq >= s.step_seq
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
