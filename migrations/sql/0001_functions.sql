-- What has to be several statements in one round trip. Inside a function each statement takes
-- a fresh snapshot, so that what follows a lock sees everything committed before that lock was
-- had. (In one statement with many CTEs it would not: they all share the first snapshot.)
--
-- Lock order, everywhere: a worker's row, its writers' rows, then runs by run_id.


-- Wakes whoever serves these types. One NOTIFY, whatever their number; a list too long for a
-- payload wakes everybody.
create function grctl.notify_types(p_types text[]) returns void
language sql
as $$
    select pg_notify('grctl.wake', case when octet_length(list) < 7900 then list else '*' end)
    from (select string_agg(distinct t, E'\n') as list from unnest(p_types) as t) as s
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
        order by n.run_id
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


-- Puts messages into inboxes, in the order given, and wakes the runs that wait. Whoever sends
-- to more than one run holds their locks already. An ended run takes nothing: returned are the
-- places (from 1) of those that were delivered.
create function grctl.deliver(
    p_to uuid[], p_kind text[], p_name text[], p_payload text[], p_message uuid[], p_trace text default null
) returns setof integer
language plpgsql
as $$
declare
    v_woken text[];
    v_places integer[];
begin
    with item as (
        select i.*, row_number() over (partition by i.to_run order by i.place) as k
        from unnest(p_to, p_kind, p_name, p_payload, p_message) with ordinality
            as i(to_run, kind, name, payload, message_id, place)
    ),
    bumped as (
        -- The row lock orders senders and the run's own step end: whoever comes second
        -- sees the other's inbox_tail or the other's status.
        update grctl.runs r
        set inbox_tail = r.inbox_tail + c.n,
            wake_at = case
                when r.owner is null and r.status = 'waiting' and r.wake_at <= grctl.now() then r.wake_at
                when r.owner is null and r.status = 'waiting' then grctl.now()
                else r.wake_at
            end
        from (select to_run, count(*)::integer as n from item group by to_run) as c
        where r.run_id = c.to_run and r.ended_at is null
        returning r.run_id, r.wf_type, r.inbox_tail - c.n as tail,
            r.owner is null and r.status = 'waiting' as woken
    ),
    put as (
        insert into grctl.inbox (run_id, no, kind, name, payload, message_id, trace)
        select b.run_id, b.tail + i.k, i.kind, i.name, i.payload::json, i.message_id, p_trace
        from bumped b
        join item i on i.to_run = b.run_id
    )
    select
        array_agg(distinct b.wf_type) filter (where b.woken),
        array_agg(i.place::integer order by i.place)
    into v_woken, v_places
    from bumped b
    join item i on i.to_run = b.run_id;

    perform grctl.notify_types(v_woken);
    return query select unnest(v_places);
end;
$$;


-- The last run of a chain of continue_as_new: what a handle on an earlier one of them is about.
create function grctl.last_run(p_run uuid) returns uuid
language plpgsql stable
as $$
declare
    v_run uuid := p_run;
    v_next uuid;
begin
    loop
        -- A continued run's last row names its successor.
        select (e.body ->> 'run_id')::uuid into v_next
        from grctl.runs r
        join grctl.events e on e.run_id = r.run_id and e.seq = r.next_seq - 1
        where r.run_id = v_run and r.status = 'continued';
        if v_next is null then
            return v_run;
        end if;
        v_run := v_next;
    end loop;
end;
$$;


-- The run that a workflow id stands for: the open one, else the one that began last. Ids tell the
-- order of starts but for clocks that differ and starts held up on their way, so of the last some.
create function grctl.latest_run(p_wf_id text) returns uuid
language sql stable
as $$
    select coalesce(
        (select r.run_id from grctl.runs r where r.wf_id = p_wf_id and r.ended_at is null),
        (
            select l.run_id
            from (
                select r.run_id, r.created_at
                from grctl.runs r
                where r.wf_id = p_wf_id
                order by r.run_id desc
                limit 20
            ) as l
            order by l.created_at desc, l.run_id desc
            limit 1
        ));
$$;


-- What was sent to a run that continued as new, and not handled, is its successor's to handle.
create function grctl.hand_over(p_ended uuid[]) returns void
language plpgsql
as $$
begin
    with heir as (
        select r.run_id as old, r.inbox_head as head, grctl.last_run(r.run_id) as new
        from grctl.runs r
        where r.run_id = any(p_ended) and r.status = 'continued' and r.inbox_tail > r.inbox_head
    ),
    moved as (
        update grctl.inbox i
        set run_id = heir.new, no = i.no - heir.head
        from heir
        where i.run_id = heir.old and i.no > heir.head
        returning i.run_id, i.no
    )
    update grctl.runs r
    set inbox_tail = m.tail
    from (select run_id, max(no) as tail from moved group by run_id) as m
    where r.run_id = m.run_id;
end;
$$;


-- What ends with a run: its parent is told, and its waiters. Called in the transaction
-- that ended it.
create function grctl.after_end(p_ended uuid[]) returns void
language plpgsql
as $$
declare
    v_told boolean;
    v_continued boolean;
begin
    select bool_or(r.parent_step is not null), bool_or(r.status = 'continued')
    into v_told, v_continued
    from grctl.runs r
    where r.run_id = any(p_ended);

    if v_told then
        perform grctl.deliver(
            array_agg(r.parent_run_id), array_agg('child'::text), array_agg(r.parent_step),
            array_agg(json_build_object(
                'run_id', r.run_id, 'wf_id', r.wf_id, 'wf_type', r.wf_type, 'status', r.status,
                'result', r.result, 'error', r.error)::text),
            array_agg(r.run_id))
        from grctl.runs r
        where r.run_id = any(p_ended) and r.parent_step is not null and r.status <> 'continued'
        having count(*) > 0;
    end if;
    if v_continued then
        perform grctl.hand_over(p_ended);
    end if;

    -- Only noted here: ending them takes locks that come before this transaction's.
    insert into grctl.closings (run_id, policy)
    select c.run_id, c.parent_close_policy
    from grctl.runs c
    where c.parent_run_id = any(p_ended)
        -- `is true`: by their parents, never by the index of all open runs.
        and (c.ended_at is null) is true
        and c.parent_close_policy <> 'abandon'
    on conflict do nothing;
    if found then
        perform pg_notify('grctl.wake', '*');
    end if;

    perform grctl.notify_ended(p_ended);
end;
$$;


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


-- Declares a worker dead, or stopped, and makes its runs due again. Deleting the writers waits
-- for a batch in flight and shuts out every later one; only then are the runs looked at.
create function grctl.release_worker(p_worker bigint, p_reason text) returns integer
language plpgsql
as $$
declare
    v_types text[];
    v_suspect uuid;
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
    -- more), against the one that began last: a poisonous run must not take its neighbours along.
    v_suspect := (
        select r.run_id
        from grctl.runs r
        where r.owner = p_worker and r.crashes >= 3
        order by r.claimed_at desc, r.run_id desc
        limit 1);
    with freed as (
        select r.run_id from grctl.runs r where r.owner = p_worker order by r.run_id for no key update
    ),
    done as (
        update grctl.runs r
        set owner = null,
            wake_at = grctl.now(),
            crashes = r.crashes
                + (p_reason = 'lost' and r.run_id = coalesce(v_suspect, r.run_id))::integer
        from freed
        where r.run_id = freed.run_id
        returning r.wf_type
    )
    select count(*), array_agg(distinct wf_type) into v_runs, v_types from done;
    perform grctl.notify_types(v_types);
    return v_runs;
end;
$$;


-- Takes the runs of every worker whose lease has ended. Skips a worker that another is at.
create function grctl.take_over() returns table (lost_worker bigint, lost_id text, freed integer)
language plpgsql
as $$
begin
    for lost_worker, lost_id in
        select w.worker_no, w.worker_id
        from grctl.workers w
        where w.ended_at is null and w.lease_until < grctl.now()
        order by w.worker_no
        for update skip locked
    loop
        freed := grctl.release_worker(lost_worker, 'lost');
        return next;
    end loop;
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
