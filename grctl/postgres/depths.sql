-- name: due
-- Of each type: how many runs are due and nobody's (1,000 are counted at most), for how long the
-- first of them has been, and how many workers serve it. A few probes of an index a type.
select
    t.wf_type,
    d.runs,
    extract(epoch from greatest(interval '0', grctl.now() - d.since))::float8 as oldest_seconds,
    (
        select count(*)
        from grctl.workers w
        where w.ended_at is null and w.lease_until > grctl.now() and t.wf_type = any(w.wf_types)
    ) as workers
from (select wf_type from grctl.workflow_types order by wf_type limit 500) as t
cross join lateral (
    select count(*) as runs, min(o.wake_at) as since
    from (
        select r.wake_at
        from grctl.runs r
        where r.wf_type = t.wf_type and r.wake_at <= grctl.now()
        order by r.wake_at
        limit 1000
    ) as o
) as d

-- name: depths
-- What waits besides: messages that are not handled, open queries, children to be closed (10,000
-- of each are counted at most); and how many workers are up, and how many are late to renew.
select
    (select count(*) from (select from grctl.inbox limit 10000) as i) as messages,
    (select count(*) from (select from grctl.queries where taken_at is null limit 10000) as q) as queries,
    (select count(*) from (select from grctl.closings limit 10000) as c) as closings,
    count(*) filter (where w.lease_until > grctl.now()) as up,
    count(*) filter (where w.lease_until <= grctl.now()) as late
from grctl.workers w
where w.ended_at is null
