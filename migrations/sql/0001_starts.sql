-- What has to be several statements in one round trip. Inside a function each statement takes
-- a fresh snapshot, so that what follows a lock sees everything committed before that lock was
-- had. (In one statement with many CTEs it would not: they all share the first snapshot.)
--
-- Lock order, everywhere: a worker's row, its writers' rows, then runs by run_id.


-- Wakes whoever serves these types. One NOTIFY, whatever their number; a list too long for a
-- payload wakes everybody, and so does a type whose name would be taken for two.
create function grctl.notify_types(p_types text[]) returns void
language sql
as $$
    select pg_notify('grctl.wake', case when is_plain and octet_length(list) < 7900 then list else '*' end)
    from (
        select string_agg(distinct t, E'\n') as list, bool_and(strpos(t, E'\n') = 0) as is_plain
        from unnest(p_types) as t) as s
    where list is not null;
$$;


-- Tells waiters which runs have ended: as few NOTIFYs as their payload allows.
create function grctl.notify_ended(p_runs uuid[]) returns void
language sql
as $$
    select pg_notify('grctl.done', string_agg(replace(run::text, '-', ''), ','))
    from unnest(p_runs) with ordinality as r(run, n)
    group by n / 230;
$$;


-- Tells waiters which updates and queries have been answered.
create function grctl.notify_answered(p_messages uuid[]) returns void
language sql
as $$
    select pg_notify('grctl.answer', string_agg(replace(message::text, '-', ''), ','))
    from unnest(p_messages) with ordinality as m(message, n)
    group by n / 230;
$$;


-- A run to be started.
create type grctl.new_run as (
    run_id      uuid,
    wf_id       text,
    wf_type     text,
    input       json,
    timeout_ms  bigint,
    parent      uuid,
    parent_step text,
    policy      text,
    trace       text
);


-- Starts runs: all new ones in one insert. Answers which were refused, and why. A start sent again
-- (same run_id) is answered as the first was, so that a client may repeat it after a lost connection.
--
-- With p_worker they are that worker's from their first moment, as if it had claimed them: it is in
-- the process that sends them. Then the answer has a row of each that is `held`, too. One that
-- was sent again has none: the worker gives back what it does not know to be its own.
create function grctl.start_runs(p_new grctl.new_run[], p_worker bigint default null)
returns table (run uuid, why text, created_at timestamptz)
language plpgsql
set plan_cache_mode = force_generic_plan -- as in commit_batch
as $$
#variable_conflict use_column
declare
    v_worker bigint;
    v_started uuid[];
    v_now timestamptz := grctl.now();
begin
    if p_worker is not null then
        -- As in a claim: a take-over of this worker waits for this transaction and then sees the
        -- runs, or comes before it and leaves nobody to have them.
        select w.worker_no into v_worker
        from grctl.workers w
        where w.worker_no = p_worker and w.ended_at is null
        for share;
    end if;

    with started as (
        insert into grctl.runs (
            run_id, wf_id, wf_type, status, wake_at, owner, epoch, claimed_at, started_at, cause,
            input, created_at, deadline_at, parent_run_id, parent_step, parent_close_policy, trace)
        select
            n.run_id, n.wf_id, n.wf_type,
            case when v_worker is null then 'scheduled' else 'running' end,
            case when v_worker is null then v_now end,
            v_worker,
            case when v_worker is null then 0 else 1 end,
            case when v_worker is not null then v_now end,
            case when v_worker is not null then v_now end,
            case when v_worker is not null then 'start' end,
            n.input, v_now, v_now + n.timeout_ms * interval '1 millisecond',
            n.parent, n.parent_step, n.policy, n.trace
        from unnest(p_new) as n
        join grctl.workflow_types w on w.wf_type = n.wf_type
        -- In one order for all: who meets an id that another is just inserting waits for that one.
        order by n.wf_id collate "C", n.run_id
        on conflict do nothing
        returning run_id
    )
    select coalesce(array_agg(s.run_id), '{}') into v_started from started as s;

    if cardinality(v_started) < cardinality(p_new) then
        return query
        select n.run_id, case when w.wf_type is null then 'unregistered' else 'running' end, null::timestamptz
        from unnest(p_new) as n
        left join grctl.workflow_types w on w.wf_type = n.wf_type
        where not exists (select from grctl.runs r where r.run_id = n.run_id);
    end if;

    if v_worker is null then
        -- A needless wake does no harm.
        perform grctl.notify_types((select array_agg(n.wf_type) from unnest(p_new) as n));
    else
        return query select s.run_id, 'held', v_now from unnest(v_started) as s(run_id);
    end if;
end;
$$;
