-- What a worker records.


-- What a batch carries: a row of history, the end of a step, a key of the store (null deletes it).
create type grctl.batch_event as (
    run_id       uuid,
    epoch        integer,
    seq          integer,
    step_no      integer,
    step_attempt integer,
    kind         text,
    op           text,
    name         text,
    place        integer,
    attempt      integer,
    micros       bigint,
    input        json,
    body         json
);

create type grctl.batch_end as (
    run_id    uuid,
    epoch     integer,
    next_seq  integer,
    go        text,
    status    text,
    step_name text,
    attempt   integer,
    delay_ms  bigint,
    wait_step text,
    read      integer,
    result    json,
    error     json
);

create type grctl.batch_write as (
    run_id uuid,
    key    text,
    value  json
);


-- A worker's batch: everything its runs have to record, in one transaction and one round trip.
-- Starts (children, continued runs), messages to other runs and answers to updates are rarer, and
-- come as JSON.
--
-- Answers, for a run whose step ended or whose rows were refused; none: parked or ended, as asked.
--   kept    the worker goes on with the run, for the reason in `why`
--   lost    it was not the worker's any more: nothing of it was written
--   refused a start or message was not possible; `why` says the reason, `item` the place in p_events
--   fenced  (alone) the worker was declared dead: nothing at all was written
create function grctl.commit_batch(
    p_worker bigint, p_slot integer, p_batch bigint,
    p_events grctl.batch_event[], p_ends grctl.batch_end[], p_writes grctl.batch_write[],
    p_touched uuid[], p_starts json, p_messages json, p_answers json
) returns table (run uuid, verdict text, why text, item integer)
language plpgsql
-- Whatever the statistics say: every table is entered by an index, in the order of the batch. The
-- order of the locks needs that; and a plan that was made while the tables were small lives on.
-- So there is but one plan, and it is made once: by itself PostgreSQL would plan each small batch
-- anew, which takes longer than to write it.
set plan_cache_mode = force_generic_plan
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
    v_rows integer;
    v_accepted uuid[];
    v_kept uuid[];
    v_causes text[];
    v_ended uuid[];
    v_answered uuid[];
    v_refused integer[] := '{}';
    v_reasons text[] := '{}';
    v_delivered bigint;
    v_now timestamptz := grctl.now();
begin
    -- 1. The fence, and the witness: a batch is committed if and only if last_batch says so.
    update grctl.writers w
    set last_batch = p_batch
    where w.worker_no = p_worker and w.slot = p_slot and w.last_batch < p_batch;
    if not found then
        if not exists (select from grctl.writers w where w.worker_no = p_worker and w.slot = p_slot) then
            return query select null::uuid, 'fenced', null::text, null::integer;
        else
            -- Sent again after a lost answer: what it did is in the rows.
            return query
            select r.run_id, 'kept', r.cause, null::integer
            from unnest(p_ends) as t
            join grctl.runs r on r.run_id = t.run_id and r.epoch = t.epoch and r.owner = p_worker;
            return query
            select e.run_id, 'refused', e.body ->> 'refused', i.ordinality::integer
            from unnest(p_events) with ordinality as i
            join grctl.events e on e.run_id = i.run_id and e.seq = i.seq
            where e.kind in ('child.refused', 'message.refused', 'parent.refused');
        end if;
        return;
    end if;

    -- 2. Where runs of others are touched, all row locks first, in one order: against deadlock, and
    -- so that what follows reads rows that nobody else can change.
    if cardinality(p_touched) > 0 or p_messages is not null then
        perform
        from grctl.runs r
        where r.run_id in (
            select t.run_id from unnest(p_ends) as t
            union
            select unnest(p_touched)
            union
            select o.run_id
            from json_to_recordset(p_messages) as m(wf_id text)
            join grctl.runs o on o.wf_id = m.wf_id and o.ended_at is null)
        order by r.run_id
        for no key update;
    end if;

    -- 3. Children and messages, before the rows that record them.
    if p_starts is not null then
        with s as (
            select * from json_to_recordset(p_starts) as s(
                item integer, run_id uuid, wf_id text, wf_type text, input text, timeout_ms bigint,
                parent uuid, parent_epoch integer, parent_step text, policy text, trace text)
            where item is not null
                and exists (select from grctl.runs p where p.run_id = s.parent and p.epoch = s.parent_epoch)
        ),
        refused as (
            select s.item, a.why
            from (
                select array_agg(row(
                    s.run_id, s.wf_id, s.wf_type, s.input::json, s.timeout_ms, s.parent, s.parent_step,
                    s.policy, s.trace)::grctl.new_run) as runs
                from s) as g
            cross join lateral grctl.start_runs(g.runs) as a
            join s on s.run_id = a.run
        )
        select v_refused || array_agg(refused.item), v_reasons || array_agg(refused.why)
        into v_refused, v_reasons
        from refused
        having count(*) > 0;
        v_refused := coalesce(v_refused, '{}');
        v_reasons := coalesce(v_reasons, '{}');
    end if;
    if p_messages is not null then
        with m as (
            select m.item, m.kind, m.name, m.payload, m.message_id, o.run_id as to_run,
                case
                    when o.run_id is null then 'ended'
                    when not m.name = any(w.event_names) then 'unknown'
                end as problem
            from json_to_recordset(p_messages) as m(
                item integer, from_run uuid, from_epoch integer, to_run uuid, wf_id text,
                kind text, name text, payload text, message_id uuid)
            join grctl.runs f on f.run_id = m.from_run and f.epoch = m.from_epoch
            left join grctl.runs o
                on (o.run_id = m.to_run or o.wf_id = m.wf_id) and o.ended_at is null
            left join grctl.workflow_types w on w.wf_type = o.wf_type
        ),
        -- Both in the select list: what is only joined may never be run.
        delivered as (
            select g.*, (
                select count(*)
                from grctl.deliver(g.to_runs, g.kinds, g.names, g.payloads, g.message_ids)) as n
            from (
                select
                    array_agg(to_run order by item) as to_runs,
                    array_agg(kind order by item) as kinds,
                    array_agg(name order by item) as names,
                    array_agg(payload order by item) as payloads,
                    array_agg(message_id order by item) as message_ids
                from m
                where problem is null) as g
        )
        select
            v_refused || coalesce(array_agg(m.item) filter (where m.problem is not null), '{}'),
            v_reasons || coalesce(array_agg(m.problem) filter (where m.problem is not null), '{}'),
            (select d.n from delivered d)
        into v_refused, v_reasons, v_delivered
        from m;
    end if;

    -- 4. History. The join drops the rows of a run that was taken from the worker (terminated).
    insert into grctl.events (
        run_id, seq, step_no, step_attempt, kind, op, name, place, attempt, micros,
        batch, epoch, worker_no, at, input, body)
    select
        e.run_id, e.seq, e.step_no, e.step_attempt, e.kind, e.op, e.name, e.place, e.attempt,
        e.micros, p_batch, e.epoch, p_worker, v_now, e.input, e.body
    from unnest(p_events) as e
    join grctl.runs r on r.run_id = e.run_id and r.epoch = e.epoch;
    get diagnostics v_rows = row_count;
    if v_rows <> cardinality(p_events) then
        return query
        select distinct e.run_id, 'lost', null::text, null::integer
        from unnest(p_events) as e
        where not exists (select from grctl.runs r where r.run_id = e.run_id and r.epoch = e.epoch);
    end if;
    if cardinality(v_refused) > 0 then
        update grctl.events v
        set kind = split_part(v.kind, '.', 1) || '.refused',
            body = json_build_object('refused', f.reason)
        from unnest(v_refused, v_reasons) as f(item, reason)
        where v.run_id = p_events[f.item].run_id and v.seq = p_events[f.item].seq;
        return query
        select p_events[f.item].run_id, 'refused', f.reason, f.item
        from unnest(v_refused, v_reasons) as f(item, reason);
    end if;
    if cardinality(p_ends) = 0 then
        return;
    end if;

    -- 5. The runs' next states. A cancel that came meanwhile takes the directive's place, and a
    -- wait that has a message already is not parked. What is decided on is read from the row that
    -- is updated, as it is once its lock is had.
    with done as (
        update grctl.runs r
        set (
            status, cause, owner, wake_at, wait_until, wait_step, step_no, step_seq, step_name,
            step_attempt, ended_at, result, error) = (
            select
                case when n.stays then 'running' else t.status end,
                case
                    when n.halted then 'cancel'
                    when n.unread then 'event'
                    when n.again or n.ends then r.cause
                    when t.go in ('step', 'delay') then 'step'
                end,
                case when n.stays then r.owner end,
                case
                    when n.stays or n.ends then null
                    when t.go = 'rewait' then least(r.wait_until, r.deadline_at)
                    else least(n.due, r.deadline_at)
                end,
                case t.go when 'wait' then n.due when 'rewait' then r.wait_until end,
                case
                    when t.go = 'wait' then t.wait_step
                    when t.go = 'rewait' or n.again or n.ends then r.wait_step
                end,
                -- The last step of an ended run stays what it was: a failed one can be retried.
                case when n.again or n.ends then r.step_no else r.step_no + 1 end,
                case when n.again or n.ends then r.step_seq else t.next_seq end,
                case when n.again or n.ends then r.step_name else t.step_name end,
                case when n.again then t.attempt when n.ends then r.step_attempt else 1 end,
                case when n.ends then v_now end,
                case when n.ends then t.result end,
                case when n.ends then t.error end
            from (
                select f.*,
                    f.halted or f.unread or t.go = 'step' as stays,
                    t.go in ('end', 'stop') and not f.halted as ends,
                    t.go = 'retry' and not f.halted as again,
                    v_now + t.delay_ms * interval '1 millisecond' as due
                from (
                    select
                        r.cancel_requested_at is not null and t.go <> 'stop' as halted,
                        t.go in ('wait', 'rewait') and r.inbox_tail > t.read as unread
                ) as f
            ) as n),
            next_seq = t.next_seq,
            crashes = 0,
            inbox_head = t.read
        from (select * from unnest(p_ends) order by run_id) as t
        -- `is true`: by their keys, never by the index of owners.
        where r.run_id = t.run_id and r.epoch = t.epoch and (r.owner = p_worker) is true
        returning r.run_id, r.owner is not null as stays, r.ended_at is not null as ends, r.cause
    )
    select
        coalesce(array_agg(d.run_id), '{}'),
        coalesce(array_agg(d.run_id) filter (where d.ends), '{}'),
        coalesce(array_agg(d.run_id) filter (where d.stays), '{}'),
        coalesce(array_agg(d.cause) filter (where d.stays), '{}')
    into v_accepted, v_ended, v_kept, v_causes
    from done d;

    -- 6. What the finished steps wrote and handled.
    if cardinality(p_writes) > 0 then
        insert into grctl.store (run_id, key, value)
        select s.run_id, s.key, s.value
        from unnest(p_writes) as s
        where s.value is not null and s.run_id = any(v_accepted)
        on conflict (run_id, key) do update set value = excluded.value;

        delete from grctl.store o
        using unnest(p_writes) as s
        where s.value is null and s.run_id = any(v_accepted) and o.run_id = s.run_id and o.key = s.key;
    end if;
    if exists (select from unnest(p_ends) as t where t.read > 0) then
        delete from grctl.inbox i
        using unnest(p_ends) as t
        where t.run_id = any(v_accepted) and i.run_id = t.run_id and i.no <= t.read;
    end if;

    if p_answers is not null then
        with given as (
            insert into grctl.answers (message_id, run_id, answer, error)
            select g.message_id, g.run_id, g.answer::json, g.error::json
            from json_to_recordset(p_answers) as g(
                message_id uuid, run_id uuid, answer text, error text)
            join unnest(v_accepted) as a(run_id) on a.run_id = g.run_id
            on conflict do nothing
            returning message_id
        )
        select array_agg(message_id) into v_answered from given;
        perform grctl.notify_answered(v_answered);
    end if;

    -- 7. What ended: a continued run's successor, parents, waiters.
    if cardinality(v_ended) > 0 then
        if p_starts is not null then
            perform grctl.start_runs(array_agg(row(
                s.run_id, s.wf_id, s.wf_type, s.input::json,
                (extract(epoch from r.deadline_at - r.created_at) * 1000)::bigint,
                r.parent_run_id, r.parent_step, r.parent_close_policy, r.trace)::grctl.new_run))
            from json_to_recordset(p_starts) as s(
                item integer, run_id uuid, wf_id text, wf_type text, input text, timeout_ms bigint,
                parent uuid)
            join grctl.runs r on r.run_id = s.parent
            where s.item is null and s.parent = any(v_ended)
            having count(*) > 0;
        end if;
        perform grctl.after_end(v_ended);
    end if;

    return query
    select k.run_id, 'kept', k.cause, null::integer
    from unnest(v_kept, v_causes) as k(run_id, cause);
    if cardinality(v_accepted) < cardinality(p_ends) then
        return query
        select t.run_id, 'lost', null::text, null::integer
        from unnest(p_ends) as t
        where t.run_id <> all(v_accepted);
    end if;
end;
$$;
