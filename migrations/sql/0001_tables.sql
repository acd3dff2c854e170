-- The tables of grctl. Everything a run is, is here, and can be read with plain SQL.
-- Keys begin with run_id, so that the tables can be distributed by it one day.

-- The only clock of everything durable: the database's own, never a worker's.
-- Tests shift it by a setting of their session; nobody else does.
create function grctl.now() returns timestamptz
language sql stable parallel safe
return now() + coalesce(nullif(current_setting('grctl_clock.shift', true), ''), '0')::interval;


-- What was ever registered, so that a start or a send can be refused at its sender.
create table grctl.workflow_types (
    wf_type       text primary key,
    start_step    text not null,
    step_names    text[] not null,
    event_names   text[] not null,
    query_names   text[] not null,
    update_names  text[] not null,
    registered_at timestamptz not null default grctl.now()
);


-- A worker process. Its lease is the lease of every run it owns.
create table grctl.workers (
    worker_no     bigint generated always as identity primary key,
    worker_id     text not null,
    worker_name   text not null,
    wf_types      text[] not null,
    concurrency   integer not null,
    lease_seconds double precision not null,
    lease_until   timestamptz not null,
    -- While its event loop stands still: since when, and the stack, innermost last.
    stalled_since timestamptz,
    stalled_in    text[],
    started_at    timestamptz not null default grctl.now(),
    ended_at      timestamptz,
    end_reason    text check (end_reason in ('stopped', 'lost'))
) with (fillfactor = 50);

create index workers_live on grctl.workers (worker_no) where ended_at is null;


-- One row for each connection by which a worker writes: its fence and its commit witness.
-- A batch updates it first; a take-over deletes it, and so waits for the batch in flight
-- and shuts out every later one.
create table grctl.writers (
    worker_no  bigint not null references grctl.workers,
    slot       smallint not null,
    last_batch bigint not null default 0,
    primary key (worker_no, slot)
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);


create table grctl.runs (
    run_id              uuid primary key,
    wf_id               text not null check (length(wf_id) between 1 and 255),
    wf_type             text not null,
    status              text not null check (status in (
        'scheduled', 'running', 'waiting', 'delayed',
        'completed', 'failed', 'cancelled', 'terminated', 'timed_out', 'continued')),

    -- Who may write: owner and epoch. Every claim raises the epoch.
    owner               bigint,
    epoch               integer not null default 0,
    claimed_at          timestamptz,

    -- When to claim it: due work of a run that nobody owns. Null while owned or ended.
    wake_at             timestamptz,

    -- The current step: why it runs, which handler, and where its history begins.
    cause               text check (cause in (
        'start', 'step', 'event', 'timeout', 'cancel', 'run_timeout')),
    step_no             integer not null default 1,
    step_name           text,
    step_attempt        integer not null default 1,
    step_seq            integer not null default 1,
    next_seq            integer not null default 1,
    crashes             integer not null default 0,

    -- The wait: its timer and the step that answers it.
    wait_until          timestamptz,
    wait_step           text,

    -- The inbox is numbered: head is the last one handled, tail the last one that came.
    inbox_head          integer not null default 0,
    inbox_tail          integer not null default 0,

    created_at          timestamptz not null default grctl.now(),
    started_at          timestamptz,
    deadline_at         timestamptz,
    ended_at            timestamptz,
    cancel_requested_at timestamptz,
    cancel_reason       text,

    parent_run_id       uuid,
    parent_step         text,
    parent_close_policy text check (parent_close_policy in ('abandon', 'cancel', 'terminate')),

    input               json,
    result              json,
    error               json,

    -- Where the run is in a trace, as a W3C traceparent; null unless its starter traced.
    trace               text
) with (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.05);

-- One open run a workflow id.
create unique index runs_open on grctl.runs (wf_id) where ended_at is null;
-- The latest run of a workflow id (run ids are ordered in time).
create index runs_wf_id on grctl.runs (wf_id, run_id);
-- The claim. It leads with the type: a backlog that nobody serves costs the others nothing.
create index runs_due on grctl.runs (wf_type, wake_at) where wake_at is not null;
-- The take-over.
create index runs_owner on grctl.runs (owner) where owner is not null;
create index runs_parent on grctl.runs (parent_run_id) where parent_run_id is not null;
-- Runs that failed or timed out, newest first. Whatever else changes a status changes another index
-- too: it spoils no update within a page.
create index runs_failed on grctl.runs (run_id) where error is not null or status = 'timed_out';


-- The history: append-only, one row an outcome. `seq` is dense from 1 for each run.
-- `place` is the row after which an operation began, where that is not the row before it.
create table grctl.events (
    -- In an order that leaves no room between the columns.
    run_id       uuid not null,
    seq          integer not null,
    step_no      integer not null,
    step_attempt integer not null,
    epoch        integer not null,
    batch        bigint not null,
    worker_no    bigint,
    at           timestamptz not null default grctl.now(),
    micros       bigint,
    attempt      integer,
    place        integer,
    kind         text not null,
    op           text,
    name         text,
    input        json,
    body         json,
    primary key (run_id, seq)
) with (
    autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1,
    autovacuum_freeze_min_age = 0);


-- The key-value state of a run; written only by a step's end.
create table grctl.store (
    run_id uuid not null,
    key    text not null,
    value  json not null,
    primary key (run_id, key)
) with (fillfactor = 80);


-- What was sent to a run and not yet handled. `no` follows the run's inbox_tail.
create table grctl.inbox (
    run_id     uuid not null,
    no         integer not null,
    kind       text not null check (kind in ('event', 'child', 'update')),
    name       text not null,
    payload    json,
    message_id uuid,
    sent_at    timestamptz not null default grctl.now(),
    -- Where its sender was in a trace, as runs.trace; null unless it traced.
    trace      text,
    primary key (run_id, no)
) with (autovacuum_vacuum_scale_factor = 0.02);


-- Children whose parent has ended, and what is to become of them. Written with the parent's end,
-- done by any worker.
create table grctl.closings (
    run_id uuid primary key,
    policy text not null check (policy in ('cancel', 'terminate'))
);


-- What is to be done once in a while by one of the workers: when next, and where to go on. It is
-- claimed by moving its time.
create table grctl.chores (
    name         text primary key,
    due_at       timestamptz not null,
    resume_after uuid
);

insert into grctl.chores (name, due_at) values ('retention', grctl.now());


-- Answers to updates, by the id of the message that asked; written by the handler's step end.
create table grctl.answers (
    message_id  uuid primary key,
    run_id      uuid not null,
    answer      json,
    error       json,
    answered_at timestamptz not null default grctl.now()
);

create index answers_run on grctl.answers (run_id);


-- Questions to query handlers, while they are open. Nothing durable: who asks waits for it. With a
-- worker_no it is a question to that worker: what it does in the run.
create unlogged table grctl.queries (
    query_id   uuid primary key,
    run_id     uuid not null,
    wf_type    text not null,
    worker_no  bigint,
    name       text not null,
    args       json,
    asked_at   timestamptz not null default grctl.now(),
    expires_at timestamptz not null,
    taken_at   timestamptz,
    answer     json,
    error      json
);

create index queries_open on grctl.queries (wf_type) where answer is null and error is null;


-- What people have done by the dashboard: written before it is done, closed when it is. Rows stay
-- when their run is deleted.
create table grctl.audit (
    audit_no bigint generated always as identity primary key,
    at       timestamptz not null default grctl.now(),
    actor    text not null,
    peer     text,
    action   text not null,
    run_id   uuid,
    wf_id    text not null,
    details  json,
    outcome  text
);

create index audit_run on grctl.audit (run_id);
