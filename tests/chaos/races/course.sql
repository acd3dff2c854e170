-- What the races add to a database: a sender that aims, and notes of when what was committed.
create schema races;

-- The time of a note is that of the commit that it came with (track_commit_timestamp).
create table races.notes (
    run_id   uuid not null,
    what     text not null check (what in ('park', 'claim', 'hit')),
    due      timestamptz,
    began_at timestamptz not null default now()
);

create index on races.notes (run_id);

create function races.note() returns trigger
language plpgsql
as $$
begin
    insert into races.notes (run_id, what, due)
    values (new.run_id, tg_argv[0], (to_jsonb(new) ->> 'wait_until')::timestamptz);
    return null;
end;
$$;

-- A step's end that waits; and one that would, but finds the event there.
create trigger park after update on grctl.runs
for each row when (new.wait_until is not null and old.wait_until is distinct from new.wait_until)
execute function races.note('park');

create trigger claim after update on grctl.runs
for each row when (old.owner is null and new.owner is not null and old.wait_until is not null)
execute function races.note('claim');

create trigger hit after insert on grctl.inbox
for each row when (new.name = 'hit')
execute function races.note('hit');


-- Send to each run at its time, in the order given, each in a transaction of its own.
create procedure races.volley(p_at timestamptz[], p_run uuid[], p_name text[])
language plpgsql
as $$
declare
    v_left double precision;
begin
    for i in 1 .. cardinality(p_at) loop
        loop
            v_left := extract(epoch from p_at[i] - clock_timestamp());
            exit when v_left <= 0;
            -- A sleep can be two milliseconds long: the last ones are spun away.
            if v_left > 0.003 then
                perform pg_sleep(v_left - 0.003);
            end if;
        end loop;
        commit; -- now() is the time of the sending
        perform grctl.deliver(
            p_run[i:i], '{event}', p_name[i:i], '{null}', array[gen_random_uuid()]);
        commit;
    end loop;
end;
$$;


create view races.times as
select n.run_id, n.what, n.due, n.began_at, pg_xact_commit_timestamp(n.xmin) as at
from races.notes n;


-- Of each race, in milliseconds: how long after each instant its event was committed. The claim is
-- the first after the wait; a wait that finds the event there already needs none.
create view races.outcomes as
select r.wf_id, r.status, r.result #>> '{}' as winner,
    1000 * extract(epoch from hit.at - park.due)::float8 as due,
    1000 * extract(epoch from hit.at - park.at)::float8 as park,
    1000 * extract(epoch from hit.at - claim.at)::float8 as claim,
    1000 * extract(epoch from hit.at - claim.began_at)::float8 as after_claim_began,
    1000 * extract(epoch from claim.began_at - park.due)::float8 as claim_after_due,
    steps.late, steps.hit
from grctl.runs r
join races.times hit on hit.run_id = r.run_id and hit.what = 'hit'
join races.times park on park.run_id = r.run_id and park.what = 'park'
left join lateral (
    select c.at, c.began_at
    from races.times c
    where c.run_id = r.run_id and c.what = 'claim' and c.at > park.at
    order by c.at
    limit 1
) as claim on true
cross join lateral (
    select count(*) filter (where e.name = 'late') as late, count(*) filter (where e.name = 'hit') as hit
    from grctl.events e
    where e.run_id = r.run_id
) as steps;
