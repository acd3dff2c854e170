-- name: choose
-- The next runs that are to be deleted, after the run $1, in the order of their ids; and where to
-- go on. By the primary key, which is in order of time: what is scanned and kept is only what is
-- kept for longer than the youngest age. Each look is bounded: rows scanned ($5), runs ($6), and
-- their events ($7).
with policy as materialized (
    select p.status, grctl.now() - p.age * interval '1 second' as ended_before
    from unnest($2::text[], $3::float8[]) as p(status, age)
),
young as materialized (
    -- The least id that a run made at the youngest of these moments could have.
    select (lpad(to_hex((extract(epoch from max(ended_before)) * 1000)::bigint), 12, '0')
        || repeat('0', 20))::uuid as run_id
    from policy
),
scanned as materialized (
    select r.run_id, r.wf_type, r.status, r.created_at, r.ended_at, r.next_seq, r.parent_run_id
    from grctl.runs r
    where r.run_id > $1 and r.run_id < (select run_id from young)
    order by r.run_id
    limit $5
),
due as materialized (
    select s.run_id, s.ended_at, s.next_seq - 1 as events,
        row_number() over w as n, sum(s.next_seq) over w as rows
    from scanned s
    join policy p on p.status = s.status
    where s.ended_at < p.ended_before
        and ($4::text is null or s.wf_type = $4)
        -- Its children name their parent, and may yet speak to it.
        and not exists (
            select from grctl.runs c where c.parent_run_id = s.run_id and c.ended_at is null)
        -- Its parent is in the step that started it, and may yet ask for its outcome.
        and not exists (
            select
            from grctl.runs p
            left join grctl.events b on b.run_id = p.run_id and b.seq = p.step_seq - 1
            where p.run_id = s.parent_run_id and p.ended_at is null
                and (b.at is null or b.at < s.created_at))
    window w as (order by s.run_id)
),
chosen as materialized (
    select * from due where n <= $6 and (rows <= $7 or n = 1)
)
select
    coalesce(array_agg(c.run_id order by c.run_id), '{}') as runs,
    coalesce(array_agg(c.ended_at order by c.run_id), '{}') as ended,
    coalesce(sum(c.events), 0)::bigint as events,
    case when count(*) < (select count(*) from due)
        then (select o.run_id from chosen o order by o.run_id desc limit 1)
        else (select s.run_id from scanned s order by s.run_id desc limit 1)
    end as next,
    count(*) = (select count(*) from due) and (select count(*) from scanned) < $5 as is_last
from chosen c

-- name: delete
-- Deletes runs that ended when it was thought they did, with all that is theirs; how many rows of
-- each table. One that somebody has locked (a retry by an operator) is left alone.
with doomed as materialized (
    select r.run_id
    from unnest($1::uuid[], $2::timestamptz[]) as d(run_id, ended_at)
    join grctl.runs r on r.run_id = d.run_id and r.ended_at = d.ended_at
    order by r.run_id
    for update of r skip locked
),
events as (
    delete from grctl.events e using doomed d where e.run_id = d.run_id returning 1
),
store as (
    delete from grctl.store s using doomed d where s.run_id = d.run_id returning 1
),
inbox as (
    delete from grctl.inbox i using doomed d where i.run_id = d.run_id returning 1
),
answers as (
    delete from grctl.answers a using doomed d where a.run_id = d.run_id returning 1
),
closings as (
    delete from grctl.closings c using doomed d where c.run_id = d.run_id returning 1
),
runs as (
    delete from grctl.runs r using doomed d where r.run_id = d.run_id returning 1
)
select
    (select count(*) from runs) as runs, (select count(*) from events) as events,
    (select count(*) from store) as store, (select count(*) from inbox) as inbox,
    (select count(*) from answers) as answers, (select count(*) from closings) as closings

-- name: delete_workers
-- Ended workers that no history names. What a worker wrote is of a run that was there before it
-- ended: one that ended before the oldest run began is named by none. That run is found by its id,
-- which a client's clock has made; hence the day.
with oldest as (
    select coalesce(
        (select r.created_at from grctl.runs r order by r.run_id limit 1), grctl.now()) as began
),
doomed as (
    select w.worker_no
    from grctl.workers w
    where w.ended_at < grctl.now() - $1::float8 * interval '1 second'
        and w.ended_at < (select o.began from oldest o) - interval '1 day'
        and not exists (select from grctl.writers s where s.worker_no = w.worker_no)
    order by w.worker_no
    limit $2
    for update of w skip locked
),
deleted as (
    delete from grctl.workers w using doomed d where w.worker_no = d.worker_no returning 1
)
select count(*) from deleted

-- name: delete_audit
with deleted as (
    delete from grctl.audit
    where audit_no in (
        select a.audit_no
        from grctl.audit a
        where a.at < grctl.now() - $1::float8 * interval '1 second'
        order by a.audit_no
        limit $2)
    returning 1
)
select count(*) from deleted

-- name: begin_round
-- One worker at a time: who gets the row has the round, and where the one before it stopped. It is
-- due again by itself, should that worker not come to the end of it.
update grctl.chores
set due_at = grctl.now() + $1::float8 * interval '1 second'
where name = 'retention' and due_at <= grctl.now()
returning resume_after

-- name: end_round
update grctl.chores
set due_at = grctl.now() + $1::float8 * interval '1 second', resume_after = $2
where name = 'retention'
