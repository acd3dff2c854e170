-- Reads alone. What could be many is counted up to a bound, by an index.

-- name: server
-- The session's own settings: what a role, a database or the server gives to all of ours.
select
    current_setting('server_version_num')::integer as version_num,
    current_setting('server_version') as version,
    clock_timestamp() as now,
    pg_is_in_recovery() as is_standby,
    (select json_object_agg(name, setting) from pg_settings where name in (
        'fsync', 'full_page_writes', 'synchronous_commit', 'autovacuum', 'track_counts',
        'default_transaction_isolation', 'default_transaction_read_only', 'statement_timeout',
        'lock_timeout', 'idle_session_timeout', 'transaction_timeout', 'max_connections',
        'superuser_reserved_connections', 'reserved_connections', 'autovacuum_freeze_max_age')) as settings,
    (select count(*) from pg_stat_activity where backend_type = 'client backend') as connections,
    nullif(current_setting('grctl_clock.shift', true), '') as clock_shift

-- name: snapshots
-- What keeps vacuum from removing dead rows, for longer than $1 seconds.
select 'a transaction of ' || coalesce(nullif(a.application_name, ''), 'an unnamed program') as what,
    a.pid, a.usename::text as usename, extract(epoch from now() - a.xact_start)::float8 as seconds, a.state,
    left(a.query, 200) as query
from pg_stat_activity a
where a.xact_start < now() - $1::float8 * interval '1 second'
    and (a.backend_xmin is not null or a.backend_xid is not null)
    and a.backend_type = 'client backend' and a.pid <> pg_backend_pid()
    and (a.datname = current_database() or a.backend_xid is not null)
union all
select 'the prepared transaction ' || p.gid, null, p.owner::text, extract(epoch from now() - p.prepared)::float8, null, null
from pg_prepared_xacts p
where p.prepared < now() - $1::float8 * interval '1 second'
union all
select 'the inactive replication slot ' || s.slot_name, null, null, null, null, null
from pg_replication_slots s
where not s.active and (s.xmin is not null or s.catalog_xmin is not null)
order by seconds desc nulls last
limit 10

-- name: tables
select c.relname::text as name, c.relnamespace::regnamespace || '.' || quote_ident(c.relname) as place,
    c.relpersistence::text as persistence, age(c.relfrozenxid) as age,
    coalesce(s.n_live_tup, 0) as live, coalesce(s.n_dead_tup, 0) as dead, pg_total_relation_size(c.oid) as bytes,
    coalesce(array_to_string(c.reloptions, ',') ~ 'autovacuum_enabled=(false|off|0|no)', false) as is_unattended,
    greatest(s.last_autovacuum, s.last_vacuum) as vacuumed_at
from pg_class c
left join pg_stat_user_tables s on s.relid = c.oid
where c.relnamespace = to_regnamespace($1) and c.relkind = 'r'
order by c.relname

-- name: workers
-- Those that are registered, and those that were lost lately.
select w.worker_id, w.ended_at is null as is_open,
    w.ended_at is null and w.lease_until > grctl.now() as is_live,
    w.ended_at > grctl.now() - interval '1 hour' and w.end_reason = 'lost' as is_lost,
    extract(epoch from grctl.now() - w.lease_until)::float8 as silent,
    extract(epoch from grctl.now() - w.stalled_since)::float8 as stalled_for, w.stalled_in,
    (select count(*) from grctl.runs r where r.owner = w.worker_no) as runs
from grctl.workers w
where w.ended_at is null or w.ended_at > grctl.now() - interval '1 hour'
order by w.worker_no desc
limit 1000

-- name: types
-- Of each type: due runs, the oldest of them, and the workers that serve it.
select t.wf_type, b.due, b.seconds, w.workers, w.slots, w.held
from grctl.workflow_types t
cross join lateral (
    select count(*) as due, extract(epoch from grctl.now() - min(d.wake_at))::float8 as seconds
    from (
        select o.wake_at
        from grctl.runs o
        where o.wf_type = t.wf_type and o.wake_at <= grctl.now()
        order by o.wake_at
        limit $1
    ) as d
) as b
cross join lateral (
    select count(*) as workers, coalesce(sum(l.concurrency), 0)::bigint as slots,
        coalesce(sum((select count(*) from grctl.runs r where r.owner = l.worker_no)), 0)::bigint as held
    from grctl.workers l
    where l.ended_at is null and l.lease_until > grctl.now() and t.wf_type = any(l.wf_types)
) as w
where b.due > 0
order by b.seconds desc

-- name: held
-- Runs that a worker holds, in which nothing moves as it should.
select r.wf_id, r.run_id, w.worker_id, w.worker_no is null or w.ended_at is not null as is_orphaned,
    extract(epoch from grctl.now() - r.claimed_at)::float8 as held_for,
    extract(epoch from grctl.now() - r.cancel_requested_at)::float8 as cancel_for
from grctl.runs r
left join grctl.workers w on w.worker_no = r.owner
where r.owner is not null
    and (w.worker_no is null or w.ended_at is not null
        or r.claimed_at < grctl.now() - $1::float8 * interval '1 second'
        or r.cancel_requested_at < grctl.now() - $2::float8 * interval '1 second')
order by r.claimed_at
limit $3

-- name: crashing
-- Runs whose step was running when workers were lost, several times.
select r.wf_id, r.run_id, r.crashes
from (
    (select o.wf_id, o.run_id, o.crashes from grctl.runs o where o.owner is not null and o.crashes >= 2 limit $1)
    union all
    (
        select o.wf_id, o.run_id, o.crashes
        from grctl.workflow_types t
        join grctl.runs o on o.wf_type = t.wf_type and o.wake_at <= grctl.now()
        where o.crashes >= 2
        limit $1
    )
) as r
order by r.crashes desc
limit $1

-- name: poisoned
-- Of the runs that failed last, those given up for what they did to workers. Not by ->>: a NUL in
-- another run's message must not end this.
select f.wf_id, f.run_id, f.ended_at
from (
    select r.wf_id, r.run_id, r.ended_at, r.error
    from grctl.runs r
    where r.error is not null
    order by r.run_id desc
    limit $1
) as f
where f.error::text like '%"type":"PoisonedStep"%' and f.ended_at > grctl.now() - interval '7 days'
order by f.ended_at desc
limit 10

-- name: unhandled
-- Messages of runs that have ended: nobody will handle them.
select count(*) as messages, count(distinct m.run_id) as runs
from (
    select i.run_id
    from grctl.inbox i
    join grctl.runs r on r.run_id = i.run_id and r.ended_at is not null
    limit $1
) as m
