-- What comes to a run from elsewhere, and what goes from it when it ends.


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
