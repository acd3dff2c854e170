"""The planted bugs, by the part of the design that each takes away."""

from __future__ import annotations

from tests.chaos.mutants.mutant import MODEL, SIMULATION, Mutant

ACTS = "migrations/sql/0001_acts.sql"
BATCHES = "migrations/sql/0001_batches.sql"
LEASES = "migrations/sql/0001_leases.sql"
MESSAGES = "migrations/sql/0001_messages.sql"
STARTS = "migrations/sql/0001_starts.sql"
CLAIM = "grctl/postgres/runs.sql"
OWN_STARTS = "tests/worker/test_own_starts.py"

FENCE = [
    Mutant(
        "the epoch of a row is not checked",
        BATCHES,
        "    join grctl.runs r on r.run_id = e.run_id and r.epoch = e.epoch;\n    get diagnostics",
        "    join grctl.runs r on r.run_id = e.run_id;\n    get diagnostics",
        MODEL,
    ),
    Mutant(
        "the epoch of a step's end is not checked",
        BATCHES,
        "where r.run_id = t.run_id and r.epoch = t.epoch and (r.owner = p_worker)",
        "where r.run_id = t.run_id and (r.owner = p_worker)",
        "tests/postgres/test_journal.py",
    ),
    Mutant(
        "a claim does not raise the epoch",
        CLAIM,
        "    epoch = r.epoch + 1,\n    claimed_at",
        "    epoch = greatest(r.epoch, 1),\n    claimed_at",
        MODEL,
    ),
    Mutant(
        "a terminate does not raise the epoch",
        ACTS,
        "        epoch = o.epoch + 1, next_seq = v_seq + 1, cancel_reason = p_reason",
        "        next_seq = v_seq + 1, cancel_reason = p_reason",
        MODEL,
    ),
    Mutant(
        "a take-over does not lock the writers",
        LEASES,
        "    delete from grctl.writers w where w.worker_no = p_worker;\n",
        "",
        MODEL,
    ),
    Mutant(
        "the fence is read, not locked",
        BATCHES,
        "    update grctl.writers w\n    set last_batch = p_batch\n    where w.worker_no = p_worker "  # noqa: E501
        "and w.slot = p_slot and w.last_batch < p_batch;\n",
        "    perform from grctl.writers w\n    where w.worker_no = p_worker and w.slot = p_slot "
        "and w.last_batch < p_batch;\n",
        "tests/postgres/test_journal.py",
    ),
    Mutant(
        "a dead worker may claim",
        CLAIM,
        "    where worker_no = $1 and ended_at is null\n    for share",
        "    where worker_no = $1\n    for share",
        MODEL,
    ),
    Mutant(
        "a claim does not lock its worker",
        CLAIM,
        "    where worker_no = $1 and ended_at is null\n    for share\n",
        "    where worker_no = $1 and ended_at is null\n",
        "tests/postgres/test_database_functions.py",
    ),
    Mutant(
        "a dead worker may have what is started beside it",
        STARTS,
        "        where w.worker_no = p_worker and w.ended_at is null\n        for share;\n",
        "        where w.worker_no = p_worker\n        for share;\n",
        OWN_STARTS,
    ),
    Mutant(
        "a start for a worker does not lock it",
        STARTS,
        "        where w.worker_no = p_worker and w.ended_at is null\n        for share;\n",
        "        where w.worker_no = p_worker and w.ended_at is null;\n",
        OWN_STARTS,
    ),
    Mutant(
        "a start for a worker whose answer was lost is forgotten",
        "grctl/worker/own_starts.py",
        "        if len(answers) < len(starts):",
        "        if False:",
        OWN_STARTS,
    ),
    Mutant(
        "a fenced journal stops no step",
        "grctl/postgres/journal.py",
        "        self._on_fenced()\n",
        "",
        "tests/postgres/test_journal.py",
    ),
]

WITNESS = [
    Mutant(
        "a run changes its writer while rows of it are on their way",
        "grctl/postgres/journal.py",
        "        if not run.unwritten:\n",
        "        if True:\n",
        "tests/postgres/test_journal.py",
    ),
    Mutant(
        "two writers number their batches alike",
        "grctl/postgres/journal.py",
        "        self._number = slot\n",
        "        self._number = 0\n",
        "tests/postgres/test_journal.py",
    ),
    Mutant(
        "a batch that was sent again is written again",
        BATCHES,
        " and w.last_batch < p_batch;",
        ";",
        MODEL,
    ),
    Mutant(
        "a batch that was sent again counts as new",
        "grctl/postgres/journal.py",
        "                await self._backoff.pause(error)\n",
        "                await self._backoff.pause(error)\n                number += 1\n",
        "tests/postgres/test_journal.py",
    ),
    Mutant(
        "a claim whose answer was lost is forgotten",
        "grctl/worker/claims.py",
        "                self.is_in_doubt = True\n",
        "",
        "tests/chaos/faults/test_lost_answers.py",
    ),
    Mutant(
        "a start that was sent again is a second one",
        STARTS,
        "        where not exists (select from grctl.runs r where r.run_id = n.run_id);",
        "        where true;",
        MODEL,
    ),
]

CLAIMS = [
    Mutant(
        "a claim takes more than its limit",
        CLAIM,
        "    order by r.wake_at\n    limit $3\n)",
        "    order by r.wake_at\n)",
        "tests/postgres/test_database_functions.py",
    ),
    Mutant(
        "two workers claim one run",
        CLAIM,
        "        for no key update skip locked\n",
        "",
        "tests/postgres/test_database_functions.py",
    ),
    Mutant(
        "history is read before the claim",
        "grctl/worker/claims.py",
        '"history", "steps", [r["run_id"] for r in rows], [r["step_seq"] for r in rows]\n'
        "            ),\n        )\n        return [Row(**dict(row)) for row in found]",
        '"history", "steps", [r["run_id"] for r in rows], [r["step_seq"] for r in rows]\n'
        "            ),\n        )\n"
        '        known = {r["run_id"]: r["next_seq"] for r in rows}  # as the claim saw it\n'
        '        return [Row(**dict(row)) for row in found if row["seq"] < known[row["run_id"]]]',
        SIMULATION,
    ),
    Mutant(
        "rows number on from the last step's end",
        "grctl/worker/claims.py",
        "                run.resume_after(event.seq)\n",
        "",
        SIMULATION,
    ),
    Mutant(
        "a timer goes off early",
        CLAIM,
        "o.wake_at <= grctl.now()\n",
        "o.wake_at <= grctl.now() + interval '200 milliseconds'\n",
        SIMULATION,
    ),
    Mutant(
        "a crash is not counted",
        LEASES,
        "crashes = r.crashes + (p_reason = 'lost' and case",
        "crashes = r.crashes + (false and case",
        MODEL,
    ),
    Mutant(
        "a crash is counted against the good as well",
        LEASES,
        "                else r.crashes < 3 and r.claimed_at >= v_since\n",
        "                else true\n",
        "tests/postgres/test_database_functions.py",
    ),
    Mutant(
        "of a crash beside a suspect only the suspect is accused",
        LEASES,
        "                else r.crashes < 3 and r.claimed_at >= v_since\n",
        "                else false\n",
        "tests/postgres/test_database_functions.py",
    ),
    Mutant(
        "a suspect is accused of whatever comes to it",
        LEASES,
        "                when r.run_id = v_suspect then not v_others\n",
        "                when r.run_id = v_suspect then true\n",
        "tests/postgres/test_database_functions.py",
    ),
    Mutant(
        "suspects run side by side",
        CLAIM,
        "    where case when f.alone then f.n = 1 else not f.suspect end\n",
        "",
        MODEL,
    ),
]

MESSAGES = [
    Mutant(
        "a handled message stays in the inbox",
        BATCHES,
        "i.run_id = t.run_id and i.no <= t.read;",
        "i.run_id = t.run_id and i.no < t.read;",
        "tests/features/test_retries.py",
    ),
    Mutant(
        "a run parks beside its message",
        BATCHES,
        "t.go in ('wait', 'rewait') and r.inbox_tail > t.read as unread",
        "t.go = 'rewait' and r.inbox_tail > t.read as unread",
        MODEL,
    ),
    Mutant(
        "a message wakes nobody",
        MESSAGES,
        "                when r.owner is null and r.status = 'waiting' then grctl.now()\n",
        "",
        MODEL,
    ),
    Mutant(
        "a message comes to a run that has ended",
        MESSAGES,
        "        where r.run_id = c.to_run and r.ended_at is null\n",
        "        where r.run_id = c.to_run\n",
        MODEL,
    ),
    Mutant(
        "messages are lost when a run continues as new",
        MESSAGES,
        "        perform grctl.hand_over(p_ended);\n",
        "        null;\n",
        "tests/features/test_continue.py",
    ),
    Mutant(
        "what a refused step wrote lands in the store",
        BATCHES,
        "        where s.value is not null and s.run_id = any(v_accepted)\n",
        "        where s.value is not null\n",
        MODEL,
    ),
    Mutant(
        "a directive wins over a cancel",
        BATCHES,
        "r.cancel_requested_at is not null and t.go <> 'stop' as halted",
        "r.cancel_requested_at is not null and t.go = 'step' as halted",
        MODEL,
    ),
    Mutant(
        "locks are taken in the order of the batch",
        BATCHES,
        "    if cardinality(p_touched) > 0 or p_messages is not null then\n",
        "    if false then\n",
        "tests/chaos/model/test_storm.py",
    ),
    Mutant(
        "nobody looks again after a new LISTEN",
        "grctl/postgres/listener.py",
        "                self._on_connect()\n",
        "",
        "tests/chaos/simulation/test_listening.py",
    ),
]

REPLAY = [
    Mutant(
        "a task's caller goes on before the commit",
        "grctl/worker/task.py",
        "            await commit\n",
        "            pass\n",
        "tests/worker/test_tasks.py",
    ),
    Mutant(
        "a cancellation by a shutdown is recorded",
        "grctl/worker/task.py",
        'made; one by the engine is none."""\n'
        "        if self.scope.is_closed:\n            return\n",
        'made; one by the engine is none."""\n',
        "tests/chaos/test_zombie_and_stop.py tests/worker",
    ),
    Mutant(
        "children are started again in a replay",
        "grctl/worker/relations.py",
        "    if recorded is not None and recorded.outcome is not None:\n"
        "        await scope.turn(recorded)\n        told =",
        "    if recorded is not None and recorded.outcome is not None and scope.is_closed:\n"
        "        await scope.turn(recorded)\n        told =",
        "tests/features/test_children.py",
    ),
    Mutant(
        "a retry begins at its first attempt after a crash",
        "grctl/worker/task.py",
        "            self.attempt = (last.attempt or 1) + 1\n",
        "",
        SIMULATION,
    ),
    Mutant(
        "a sleep counts its time twice after a crash",
        "grctl/worker/operations.py",
        "        left -= recorded.start.age\n",
        "        left -= 2 * recorded.start.age\n",
        "tests/replay/test_stories.py",
    ),
    Mutant(
        "outcomes are handed out as soon as they come",
        "grctl/worker/scope.py",
        "TURNS_TO_REST = 8\n",
        "TURNS_TO_REST = 1\n",
        "tests/replay",
    ),
    Mutant(
        "changed code goes unnoticed",
        "grctl/engine/replay.py",
        "        if recorded.kind != kind or recorded.name != name:\n",
        "        if recorded.kind != kind:\n",
        "tests/engine/test_replay.py",
    ),
    Mutant(
        "changed input goes unnoticed",
        "grctl/engine/replay.py",
        "        return self._same_json(recorded.input, input_text)",
        "        return True",
        "tests/engine/test_replay.py",
    ),
    Mutant(
        "a record can be cancelled",
        "grctl/postgres/batch.py",
        '        """Never: see the class."""\n        return False',
        '        """Never: see the class."""\n        return super().cancel(msg)',
        "tests/replay/test_stories.py",
    ),
    Mutant(
        "a worker lives on without one of its writers",
        "grctl/postgres/journal.py",
        "            await asyncio.gather(*writing)\n",
        "            await asyncio.wait(writing)\n",
        "tests/chaos/simulation/test_cancelled_awaits.py",
    ),
    Mutant(
        "a replay is told of a cancel while it waits for its store",
        "grctl/worker/executor.py",
        "            await self._store.load()\n",
        "            pass\n",
        "tests/features/test_cancel.py",
    ),
    Mutant(
        "a message that a run's timeout struck counts as handled",
        "grctl/worker/ends.py",
        '"step.timeout", "run.timeout"})',
        '"step.timeout"})',
        "tests/features/test_events.py",
    ),
    Mutant(
        "a question that is gone is waited for",
        "grctl/client/requests.py",
        "                if not await answered.wait_or_poll():\n",
        "                if not await answered.wait_or_poll() and limit.expired():\n",
        "tests/features/test_queries.py",
    ),
    Mutant(
        "who waits since a retry is told of the end before it",
        "grctl/client/waiters.py",
        "                if future.number > asked:\n",
        "                if future.number > asked + 1:\n",
        "tests/features/test_waiters.py",
    ),
    Mutant(
        "a dead connection condemns nobody",
        "grctl/postgres/database.py",
        "            await self._pool.expire_connections()\n",
        "            pass\n",
        "tests/postgres/test_dead_connections.py",
    ),
]

ALL = FENCE + WITNESS + CLAIMS + MESSAGES + REPLAY
