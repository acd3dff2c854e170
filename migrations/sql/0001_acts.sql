-- What ends a run from outside, and what opens it again.


-- Locks a run and its parent, in the one order.
create function grctl.lock_run(p_run uuid) returns void
language plpgsql
as $$
begin
    perform
    from grctl.runs r
    where r.run_id = p_run or r.run_id = (select c.parent_run_id from grctl.runs c where c.run_id = p_run)
    order by r.run_id
    for no key update;
end;
$$;


-- Fails a run whose end its worker could not record by a batch, whatever the reason: the last
-- resort, with nothing in it but what must be there. Answers whether it was the worker's.
create function grctl.fail_run(p_worker bigint, p_run uuid, p_epoch integer, p_error json)
returns boolean
language plpgsql
as $$
declare
    r grctl.runs;
    v_seq integer;
begin
    perform grctl.lock_run(p_run);
    select * into r from grctl.runs o where o.run_id = p_run;
    if not found or r.owner is distinct from p_worker or r.epoch <> p_epoch then
        return false;
    end if;
    select coalesce(max(e.seq), 0) + 1 into v_seq from grctl.events e where e.run_id = p_run;
    insert into grctl.events (
        run_id, seq, step_no, step_attempt, kind, name, batch, epoch, worker_no, body)
    values (
        p_run, v_seq, r.step_no, r.step_attempt, 'step.failed', r.step_name, 0, r.epoch, p_worker,
        json_build_object('error', p_error, 'cause', r.cause));
    update grctl.runs o
    set status = 'failed', ended_at = grctl.now(), owner = null, next_seq = v_seq + 1,
        error = json_build_object('step', coalesce(r.step_name, ''), 'error', p_error)
    where o.run_id = p_run;
    perform grctl.after_end(array[p_run]);
    return true;
end;
$$;


-- Asks for a run's end. A run that nobody executes ends here and now, by this transaction; one
-- in a step ends when its step does. Answers: ended (it was already), cancelled, requested.
create function grctl.cancel_run(p_run uuid, p_reason text) returns text
language plpgsql
as $$
declare
    r grctl.runs;
begin
    perform grctl.lock_run(p_run);
    select * into r from grctl.runs o where o.run_id = p_run;
    if not found or r.ended_at is not null then
        return 'ended';
    end if;
    update grctl.runs o
    set cancel_requested_at = coalesce(o.cancel_requested_at, grctl.now()),
        cancel_reason = coalesce(o.cancel_reason, p_reason)
    where o.run_id = p_run;
    if r.owner is not null or r.status = 'running' then
        perform pg_notify('grctl.worker', coalesce(r.owner, 0) || ' cancel ' || p_run);
        return 'requested';
    end if;
    -- Between two attempts of a step the step is over as far as its tasks go.
    insert into grctl.events (run_id, seq, step_no, step_attempt, kind, batch, epoch, body)
    values (p_run, r.next_seq, r.step_no, r.step_attempt, 'run.cancelled', 0, r.epoch,
        json_build_object('reason', p_reason));
    update grctl.runs o
    set status = 'cancelled', ended_at = grctl.now(), wake_at = null, next_seq = r.next_seq + 1
    where o.run_id = p_run;
    perform grctl.after_end(array[p_run]);
    return 'cancelled';
end;
$$;


-- Ends a run whoever has it. The owner's fence is locked first, as its batches do, so that none
-- is in flight; the epoch is raised, so that none of a later one counts.
create function grctl.terminate_run(p_run uuid, p_reason text) returns text
language plpgsql
as $$
declare
    r grctl.runs;
    v_owner bigint;
    v_seq integer;
begin
    select o.owner into v_owner from grctl.runs o where o.run_id = p_run;
    perform from grctl.writers w where w.worker_no = v_owner order by w.slot for update;
    perform grctl.lock_run(p_run);
    select * into r from grctl.runs o where o.run_id = p_run;
    if not found or r.ended_at is not null then
        return 'ended';
    end if;
    if r.owner is distinct from v_owner and r.owner is not null then
        -- Claimed by another meanwhile, whose fence can no longer be locked in order.
        raise exception 'run % changed hands', p_run using errcode = 'serialization_failure';
    end if;
    select coalesce(max(e.seq), 0) + 1 into v_seq from grctl.events e where e.run_id = p_run;
    insert into grctl.events (run_id, seq, step_no, step_attempt, kind, batch, epoch, body)
    values (p_run, v_seq, r.step_no, r.step_attempt, 'run.terminated', 0, r.epoch + 1,
        json_build_object('reason', p_reason));
    update grctl.runs o
    set status = 'terminated', ended_at = grctl.now(), wake_at = null, owner = null,
        epoch = o.epoch + 1, next_seq = v_seq + 1, cancel_reason = p_reason
    where o.run_id = p_run;
    perform grctl.after_end(array[p_run]);
    if r.owner is not null then
        perform pg_notify('grctl.worker', r.owner || ' terminate ' || p_run);
    end if;
    return 'terminated';
end;
$$;


-- Does what was noted for one child of an ended parent. One at a time, as each takes locks in
-- their order; answers whether there was one.
create function grctl.close_child() returns boolean
language plpgsql
as $$
declare
    c grctl.closings;
begin
    delete from grctl.closings d
    where d.run_id = (
        select o.run_id from grctl.closings o order by o.run_id limit 1 for update skip locked)
    returning d.* into c;
    if not found then
        return false;
    end if;
    if c.policy = 'cancel' then
        perform grctl.cancel_run(c.run_id, 'the parent workflow has ended');
    else
        perform grctl.terminate_run(c.run_id, 'the parent workflow has ended');
    end if;
    return true;
end;
$$;


-- Opens a failed run again, at the step that failed: what its tasks completed is kept.
-- Answers: retried, not_failed, running (the workflow id has another open run).
create function grctl.retry_run(p_run uuid) returns text
language plpgsql
as $$
declare
    r grctl.runs;
begin
    select * into r from grctl.runs o where o.run_id = p_run for no key update;
    if not found or r.status <> 'failed' then
        return 'not_failed';
    end if;
    begin
        update grctl.runs o
        set status = 'delayed', wake_at = grctl.now(), ended_at = null, error = null, crashes = 0,
            step_attempt = o.step_attempt + 1, next_seq = o.next_seq + 1,
            cancel_requested_at = null, cancel_reason = null
        where o.run_id = p_run;
    exception when unique_violation then -- of runs_open: a start that has just come is seen, too
        return 'running';
    end;
    insert into grctl.events (run_id, seq, step_no, step_attempt, kind, batch, epoch)
    values (p_run, r.next_seq, r.step_no, r.step_attempt, 'run.retried', 0, r.epoch);
    perform grctl.notify_types(array[r.wf_type]);
    return 'retried';
end;
$$;
