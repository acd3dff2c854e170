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
