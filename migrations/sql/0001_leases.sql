-- Whose runs they are: what ends a worker's hold on them.


-- Declares a worker dead, or stopped, and makes its runs due again. Deleting the writers waits
-- for a batch in flight and shuts out every later one; only then are the runs looked at.
create function grctl.release_worker(p_worker bigint, p_reason text) returns integer
language plpgsql
as $$
declare
    v_types text[];
    v_suspect uuid;
    v_since timestamptz;
    v_others boolean;
    v_runs integer;
begin
    update grctl.workers w
    set ended_at = grctl.now(), end_reason = p_reason
    where w.worker_no = p_worker and w.ended_at is null;
    if not found then
        return 0;
    end if;
    perform from grctl.writers w where w.worker_no = p_worker order by w.slot for update;
    delete from grctl.writers w where w.worker_no = p_worker;

    -- A crash counts against the steps that ran. Where suspects were among them (three crashes or
    -- more), against the one that began last, and what began beside it: a poisonous run must not
    -- take its neighbours along. A suspect is alone at first. What is there beside it came later,
    -- and if it has met a crash before, it is rather that: good runs must not be blamed, either.
    select r.run_id, r.claimed_at
    into v_suspect, v_since
    from grctl.runs r
    where r.owner = p_worker and r.crashes >= 3
    order by r.claimed_at desc, r.run_id desc
    limit 1;
    v_others := exists (
        select
        from grctl.runs r
        where r.owner = p_worker and r.crashes in (1, 2) and r.claimed_at >= v_since);
    with freed as (
        select r.run_id from grctl.runs r where r.owner = p_worker order by r.run_id for no key update
    ),
    done as (
        update grctl.runs r
        set owner = null,
            wake_at = grctl.now(),
            crashes = r.crashes + (p_reason = 'lost' and case
                when v_suspect is null then true
                when r.run_id = v_suspect then not v_others
                else r.crashes < 3 and r.claimed_at >= v_since
            end)::integer
        from freed
        where r.run_id = freed.run_id
        returning r.wf_type
    )
    select count(*), array_agg(distinct wf_type) into v_runs, v_types from done;
    perform grctl.notify_types(v_types);
    return v_runs;
end;
$$;


-- Takes the runs of one worker whose lease has ended; no row: there is none, or another is at it.
-- One a transaction: the locks on its runs, in their order, are not held for those of the next.
create function grctl.take_over() returns table (lost_worker bigint, lost_id text, freed integer)
language plpgsql
as $$
begin
    select w.worker_no, w.worker_id
    into lost_worker, lost_id
    from grctl.workers w
    where w.ended_at is null and w.lease_until < grctl.now()
    order by w.worker_no
    limit 1
    for update skip locked;
    if found then
        freed := grctl.release_worker(lost_worker, 'lost');
        return next;
    end if;
end;
$$;


-- Gives back single runs (a step that could not be stopped in time, a worker that is full).
create function grctl.release_runs(p_worker bigint, p_run uuid[], p_epoch integer[]) returns void
language sql
as $$
    with freed as (
        select r.run_id
        from unnest(p_run, p_epoch) as f(run_id, epoch)
        join grctl.runs r on r.run_id = f.run_id and r.epoch = f.epoch and r.owner = p_worker
        order by r.run_id
        for no key update of r
    ),
    done as (
        update grctl.runs r
        set owner = null, wake_at = grctl.now()
        from freed
        where r.run_id = freed.run_id
        returning r.wf_type
    )
    select grctl.notify_types(array_agg(wf_type)) from done;
$$;
