"""What must hold of the tables at every moment. Each is a query for runs of which not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["ALWAYS", "AT_THE_END", "violations"]

ALWAYS = {
    "sequence numbers are dense": """
        select run_id from grctl.events
        group by run_id having min(seq) <> 1 or max(seq) <> count(*)""",
    "a run's row knows where its history goes on": """
        select r.run_id from grctl.runs r
        where (r.owner is null and r.status <> 'running')
            and r.next_seq <> 1 + (
                select count(*) from grctl.events e where e.run_id = r.run_id)""",
    "nothing comes after a run's end": """
        select e.run_id
        from grctl.events e
        join grctl.events later on later.run_id = e.run_id and later.seq = e.seq + 1
        where e.kind in (
                'run.cancelled', 'run.terminated', 'run.timeout', 'wait.timed_out',
                'step.failed', 'step.timeout')
            and later.kind <> 'run.retried'""",
    "a run's last row says what its status says": """
        select r.run_id
        from grctl.runs r
        left join grctl.events e on e.run_id = r.run_id and e.seq = r.next_seq - 1
        where r.ended_at is not null and r.status is distinct from case
            when e.kind = 'step.completed' then case e.body ->> 'next'
                when 'complete' then 'completed'
                when 'fail' then 'failed'
                when 'continue_as_new' then 'continued'
            end
            when e.kind in ('step.failed', 'step.timeout', 'wait.timed_out') then 'failed'
            when e.kind = 'run.cancelled' then 'cancelled'
            when e.kind = 'run.terminated' then 'terminated'
            when e.kind = 'run.timeout' then 'timed_out'
        end""",
    "a status and what belongs to it": """
        select run_id from grctl.runs
        where (ended_at is not null) <> (status in (
                'completed', 'failed', 'cancelled', 'terminated', 'timed_out', 'continued'))
            or (owner is not null and (status <> 'running' or wake_at is not null))
            or (ended_at is not null and (owner is not null or wake_at is not null))""",
    "no open run is out of everybody's reach": """
        select run_id from grctl.runs
        where ended_at is null and owner is null and wake_at is null
            and (status <> 'waiting' or wait_until is not null or inbox_tail > inbox_head)""",
    "an owner is a worker that is not over": """
        select r.run_id
        from grctl.runs r
        left join grctl.workers w on w.worker_no = r.owner and w.ended_at is null
        where r.owner is not null and w.worker_no is null""",
    "an operation has one outcome in an attempt of its step": """
        select run_id from grctl.events
        where op is not null
            and kind not in ('task.started', 'task.attempt_failed', 'sleep.recorded')
        group by run_id, step_no, step_attempt, op having count(*) > 1""",
    "failed attempts are numbered one after another": """
        select run_id from grctl.events
        where kind = 'task.attempt_failed'
        group by run_id, step_no, op
        having max(attempt) <> count(*)""",
    "epochs grow": """
        select e.run_id
        from grctl.events e
        join grctl.events next on next.run_id = e.run_id and next.seq = e.seq + 1
        where next.epoch < e.epoch""",
    "steps follow each other": """
        select e.run_id
        from grctl.events e
        join grctl.events next on next.run_id = e.run_id and next.seq = e.seq + 1
        where next.step_no not in (e.step_no, e.step_no + 1)
            or (next.step_no = e.step_no + 1
                and e.kind not in ('step.completed', 'event.unhandled')
                and not (e.kind = 'step.attempt_failed' and next.kind = 'run.cancelled'))""",
    "an inbox holds what came and was not handled": """
        select r.run_id
        from grctl.runs r
        left join grctl.inbox i using (run_id)
        where r.status <> 'continued'
        group by r.run_id
        having count(i.no) <> r.inbox_tail - r.inbox_head
            or min(i.no) <= r.inbox_head or max(i.no) > r.inbox_tail""",
    "a child and the row that started it": """
        (select run_id, (body ->> 'run_id')::uuid as child
         from grctl.events where kind = 'child.started'
         except select parent_run_id, run_id from grctl.runs)
        union all
        (select parent_run_id, run_id
         from grctl.runs c
         where parent_run_id is not null and not exists (
            select from grctl.events e
            where e.kind = 'step.completed' and (e.body ->> 'run_id')::uuid = c.run_id)
         except
         select run_id, (body ->> 'run_id')::uuid from grctl.events
         where kind = 'child.started')""",
    "a child's end is told to its parent once": """
        select c.run_id
        from grctl.runs c
        join grctl.runs p on p.run_id = c.parent_run_id
        where c.parent_step is not null and c.ended_at is not null and c.status <> 'continued'
            and (
                select count(*) from grctl.inbox i
                where i.kind = 'child' and i.message_id = c.run_id
            ) + (
                select count(*) from grctl.events e
                where e.kind = 'step.completed' and e.input ->> 'run_id' = c.run_id::text
            ) <> 1
            and not (p.ended_at is not null and p.ended_at <= c.ended_at)
            and not exists (select from grctl.events e where e.kind = 'step.failed'
                and e.input ->> 'run_id' = c.run_id::text)""",
    "a sleep is not over early": """
        select e.run_id
        from grctl.events e
        join grctl.events done using (run_id, step_no, step_attempt, op)
        join grctl.runs r using (run_id)
        where e.kind = 'sleep.recorded' and done.kind = 'sleep.completed' and done.body is null
            and r.cancel_requested_at is null
            and done.at < e.at + (e.input #>> '{}')::integer * interval '1 millisecond'""",
    "a timer does not go off early": """
        select e.run_id
        from grctl.events e
        join grctl.events next on next.run_id = e.run_id
            and (next.step_no, next.step_attempt) in (
                (e.step_no + 1, 1), (e.step_no, e.step_attempt + 1))
        where e.kind in ('step.completed', 'step.attempt_failed')
            and next.kind like 'step.%'
            and next.body ->> 'cause' in ('timeout', 'step')
            and e.body ->> 'next' is distinct from 'step'
            and next.at - next.micros * interval '1 microsecond' < e.at + interval '1 millisecond'
                * coalesce(e.body ->> 'delay_ms', e.body ->> 'next_retry_delay_ms')::integer""",
}
"""Name of the invariant -> the query for what breaks it."""

AT_THE_END = {
    "every run has ended": "select run_id from grctl.runs where ended_at is null",
    "nothing is held by a worker": "select run_id from grctl.runs where owner is not null",
    "children that were to be closed are": "select run_id from grctl.closings",
}
"""Once nothing fails any more, and some time has passed."""


def violations(look: Callable[[str], list[Any]], invariants: dict[str, str]) -> list[str]:
    """In words, which do not hold, and of which runs."""
    found = [(name, look(query)) for name, query in invariants.items()]
    return [f"{name}: not of {[tuple(row) for row in rows[:5]]}" for name, rows in found if rows]
