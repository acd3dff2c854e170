-- name: register
-- Names are only ever added: an older worker of the same type may still serve what it knows.
insert into grctl.workflow_types as t (
    wf_type, start_step, step_names, event_names, query_names, update_names)
values ($1, $2, $3::text[], $4::text[], $5::text[], $6::text[])
on conflict (wf_type) do update
set start_step = excluded.start_step,
    step_names = array(select distinct unnest(t.step_names || excluded.step_names) order by 1),
    event_names = array(select distinct unnest(t.event_names || excluded.event_names) order by 1),
    query_names = array(select distinct unnest(t.query_names || excluded.query_names) order by 1),
    update_names = array(select distinct unnest(t.update_names || excluded.update_names) order by 1)
where (t.start_step, t.step_names, t.event_names, t.query_names, t.update_names) is distinct from (
    excluded.start_step,
    array(select distinct unnest(t.step_names || excluded.step_names) order by 1),
    array(select distinct unnest(t.event_names || excluded.event_names) order by 1),
    array(select distinct unnest(t.query_names || excluded.query_names) order by 1),
    array(select distinct unnest(t.update_names || excluded.update_names) order by 1))

-- name: list
-- Every type, for people, and how many live workers serve it.
select
    t.wf_type as type, t.start_step as start, t.step_names as steps, t.event_names as events,
    t.query_names as queries, t.update_names as updates, t.registered_at,
    (
        select count(*)
        from grctl.workers w
        where w.ended_at is null and w.lease_until > grctl.now() and t.wf_type = any(w.wf_types)
    ) as workers
from grctl.workflow_types t
order by t.wf_type
