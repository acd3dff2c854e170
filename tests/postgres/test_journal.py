"""The journal against a real server, with faults between them: nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from grctl.engine.rows import Row, StoreWrite, Transition
from grctl.errors import LeaseLostError
from grctl.ids import new_run_id
from grctl.postgres.batch import Commit
from grctl.postgres.database import Database as Pool
from grctl.postgres.journal import Journal, RecordRefusedError
from grctl.settings import Settings, load_settings
from tests.support import Database, wait_until
from tests.support.proxy import Proxy, proxied


@dataclass
class RunOfOurs:
    """A run that the test's worker holds, recorded by hand."""

    journal: Journal
    run_id: UUID
    epoch: int = 1
    seq: int = 1
    slot: int = 0
    unwritten: int = 0
    delivered: list[int] = field(default_factory=list)

    def record(
        self, body: str = '"x"', *, kind: str = "task.completed", transition: Any = None
    ) -> Commit:
        row = Row(
            self.run_id, self.epoch, self.seq, 1, 1, kind, op=str(self.seq), name="t", body=body
        )
        self.seq += 1
        return self.journal.record(self, row, transition)

    def deliver(self, commit: Commit) -> None:
        self.delivered.append(commit.row.seq)
        if not commit.done():
            commit.set_result(commit.answer)  # type: ignore[arg-type]  # None says: committed

    def rewind_to(self, seq: int) -> None:
        self.seq = seq


@dataclass
class Setting:
    database: Database
    pool: Pool
    journal: Journal
    worker_no: int
    is_fenced: asyncio.Event

    async def run_of_ours(self) -> RunOfOurs:
        run_id = new_run_id()
        await self.database.execute(
            "insert into grctl.runs (run_id, wf_id, wf_type, status, owner, epoch, cause) "
            "values ($1, $2, 't', 'running', $3, 1, 'start')",
            run_id,
            str(run_id),
            self.worker_no,
        )
        return RunOfOurs(self.journal, run_id)

    async def slots(self) -> set[int]:
        """By which writers rows have come."""
        found = await self.database.fetch("select distinct batch from grctl.events")
        return {row["batch"] % self.pool.settings.writers for row in found}

    async def rows(self, run: RunOfOurs) -> list[tuple[int, str]]:
        found = await self.database.fetch(
            "select seq, body #>> '{}' as body from grctl.events where run_id = $1 order by seq",
            run.run_id,
        )
        return [(row["seq"], row["body"]) for row in found]


@asynccontextmanager
async def journaling(database: Database, settings: Settings) -> AsyncIterator[Setting]:
    """A registered worker's journal, and nothing else of a worker."""
    pool = Pool(settings)
    await pool.open()
    number = await pool.fetchval(
        "leases", "register", f"w-{uuid4()}", "w", ["t"], 10, 60.0, settings.writers
    )
    is_fenced = asyncio.Event()
    journal = Journal(pool, number, is_fenced.set)
    writing = asyncio.create_task(journal.run())
    try:
        yield Setting(database, pool, journal, number, is_fenced)
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await pool.close()


@pytest.fixture
async def proxy(database: Database) -> AsyncIterator[Proxy]:
    async with proxied(database.dsn) as made:
        yield made


@pytest.fixture
async def here(database: Database, proxy: Proxy) -> AsyncIterator[Setting]:
    """A journal whose connections go through the proxy."""
    settings = load_settings(database_url=proxy.url, lease_seconds=1.0)
    async with journaling(database, settings) as setting:
        yield setting


@pytest.mark.parametrize("marked", [["marked"], ["marked", "with it"]], ids=["alone", "together"])
async def test_an_answer_that_is_lost_after_the_commit_is_asked_for_and_not_written_twice(
    here: Setting, proxy: Proxy, marked: list[str]
) -> None:
    run = await here.run_of_ours()
    await run.record('"before"')
    proxy.cut_after = b"marked"

    await within(10, *(run.record(f'"{each}"') for each in marked))
    await within(10, run.record('"after"'))

    assert proxy.cuts == 1
    rows = list(enumerate(["before", *marked, "after"], start=1))
    assert await here.rows(run) == rows
    assert run.delivered == [seq for seq, _ in rows]


async def test_the_end_of_a_step_whose_answer_is_lost_says_that_the_run_goes_on(
    here: Setting, proxy: Proxy
) -> None:
    run = await here.run_of_ours()
    proxy.cut_after = b"marked"
    transition = Transition(go="step", status="running", step_name="next")
    transition.writes = [StoreWrite("k", '"v"')]

    [answer] = await within(
        10, run.record('"marked"', kind="step.completed", transition=transition)
    )

    assert proxy.cuts == 1
    assert (answer.verdict, answer.why) == ("kept", "step")
    row = await here.database.fetchrow("select step_no, step_name, next_seq from grctl.runs")
    assert row is not None
    assert tuple(row) == (2, "next", 2)


async def test_an_end_whose_answer_is_lost_is_not_taken_for_certain(
    here: Setting, proxy: Proxy
) -> None:
    ending = Transition(go="end", status="completed", result='"done"')
    told = await within(10, (await here.run_of_ours()).record("1", transition=ending))
    assert (told[0].verdict, told[0].is_certain) == ("gone", True)

    taken_away = await here.run_of_ours()
    await here.database.execute(
        "update grctl.runs set epoch = 2 where run_id = $1", taken_away.run_id
    )
    proxy.cut_after = b"marked"
    ending = Transition(go="end", status="completed", result='"marked"')
    told = await within(10, taken_away.record("1", kind="step.completed", transition=ending))

    assert proxy.cuts == 1
    assert not told[0].is_certain
    assert await here.rows(taken_away) == []


async def test_a_writer_is_connected_before_there_is_anything_to_write(here: Setting) -> None:
    await asyncio.wait_for(here.journal.until_open(), 10)

    sessions = "select count(*) from pg_stat_activity where application_name like 'grctl journal%'"
    opened = await here.database.fetchval(sessions + " and datname = current_database()")
    assert opened == here.pool.settings.writers
    assert await here.database.fetchval("select min(last_batch) from grctl.writers") > 0


async def test_a_batch_that_never_reached_the_server_is_sent_again(
    here: Setting, proxy: Proxy
) -> None:
    run = await here.run_of_ours()
    await run.record('"before"')
    proxy.cut_before = b"marked"

    await within(10, run.record('"marked"'))

    assert proxy.cuts == 1
    assert await here.rows(run) == [(1, "before"), (2, "marked")]


async def test_a_server_that_refuses_connections_for_a_while_loses_nothing(
    here: Setting, proxy: Proxy
) -> None:
    run = await here.run_of_ours()
    await run.record('"before"')
    proxy.refuses = True
    proxy.cut_all()
    records = [run.record(f'"{number}"') for number in range(20)]
    await wait_until(lambda: not any(each.done() for each in records), "nothing is written")
    proxy.refuses = False

    await within(15, *records)

    assert [seq for seq, _ in await here.rows(run)] == list(range(1, 22))


async def test_a_connection_that_nobody_answers_is_given_up_and_the_batch_sent_by_another(
    here: Setting, proxy: Proxy
) -> None:
    run = await here.run_of_ours()
    await run.record('"before"')
    proxy.make_black_holes()  # of the connections there are; new ones lead to the server

    await within(20, run.record('"swallowed"'))

    assert proxy.cuts == 0
    assert await here.rows(run) == [(1, "before"), (2, "swallowed")]


async def test_late_answers_keep_the_order(here: Setting, proxy: Proxy) -> None:
    proxy.delay = 0.05
    runs = [await here.run_of_ours() for _ in range(4)]
    records = [run.record(f'"{number}"') for number in range(10) for run in runs]

    await asyncio.gather(*records)

    for run in runs:
        assert await here.rows(run) == [(number + 1, str(number)) for number in range(10)]
        assert run.delivered == list(range(1, 11))


@pytest.mark.parametrize("late", [1, 2])
async def test_a_fenced_writer_writes_nothing_and_says_so(here: Setting, late: int) -> None:
    run = await here.run_of_ours()
    await run.record()
    await here.database.execute("select grctl.release_worker($1, 'lost')", here.worker_no)

    records = [run.record('"late"') for _ in range(late)]
    for record in records:
        with pytest.raises(LeaseLostError, match="lease ended"):
            await record

    assert here.is_fenced.is_set()
    assert len(await here.rows(run)) == 1
    with pytest.raises(LeaseLostError):
        await run.record('"later"')
    assert await here.database.fetchval("select owner from grctl.runs") is None


async def test_a_take_over_waits_for_the_batch_in_flight(here: Setting) -> None:
    """The batch commits whole before the take-over, or not at all after it."""
    run = await here.run_of_ours()
    await run.record('"before"')
    blocker = await asyncpg.connect(here.database.dsn)
    rival = await asyncpg.connect(here.database.dsn)
    try:
        async with blocker.transaction():
            # The batch will hold its fence, and wait for this row lock.
            await blocker.execute("select from grctl.runs where run_id = $1 for update", run.run_id)
            ending = Transition(go="end", status="completed", result='"done"')
            record = run.record('"{}"', kind="step.completed", transition=ending)
            await wait_until(lambda: waiting_for_locks(here.database, 1), "the batch is blocked")
            taking = asyncio.create_task(
                rival.fetchval("select grctl.release_worker($1, 'lost')", here.worker_no)
            )
            await wait_until(lambda: waiting_for_locks(here.database, 2), "the rival is blocked")
        [answer] = await within(10, record)
        freed = await asyncio.wait_for(taking, 10)
    finally:
        await blocker.close()
        await rival.close()

    assert answer.verdict == "gone"
    assert freed == 0, "the run had ended when the take-over looked"
    assert await here.database.fetchval("select status from grctl.runs") == "completed"


async def test_a_take_over_waits_for_the_lone_row_in_flight(here: Setting) -> None:
    """It is there when the next owner reads the history."""
    await here.journal.until_open()
    run = await here.run_of_ours()
    blocker = await asyncpg.connect(here.database.dsn)
    rival = await asyncpg.connect(here.database.dsn)
    try:
        async with blocker.transaction():
            await blocker.execute("lock table grctl.events in share mode")
            record = run.record('"in flight"')
            await wait_until(lambda: waiting_for_locks(here.database, 1), "the row is blocked")
            taking = asyncio.create_task(
                rival.fetchval("select grctl.release_worker($1, 'lost')", here.worker_no)
            )
            await wait_until(lambda: waiting_for_locks(here.database, 2), "the rival is blocked")
        await within(10, record)
        assert await asyncio.wait_for(taking, 10) == 1
    finally:
        await blocker.close()
        await rival.close()
    assert await here.rows(run) == [(1, "in flight")]


async def test_a_terminate_waits_for_the_batch_in_flight_and_shuts_out_the_next(
    here: Setting,
) -> None:
    run = await here.run_of_ours()
    blocker = await asyncpg.connect(here.database.dsn)
    rival = await asyncpg.connect(here.database.dsn)
    try:
        async with blocker.transaction():
            await blocker.execute("select from grctl.runs where run_id = $1 for update", run.run_id)
            going_on = Transition(go="step", status="running", step_name="next")
            record = run.record('"in flight"', kind="step.completed", transition=going_on)
            await wait_until(lambda: waiting_for_locks(here.database, 1), "the batch is blocked")
            terminating = asyncio.create_task(
                rival.fetchval("select grctl.terminate_run($1, 'enough')", run.run_id)
            )
            await wait_until(lambda: waiting_for_locks(here.database, 2), "the rival is blocked")
        [answer] = await within(10, record)
        assert await asyncio.wait_for(terminating, 10) == "terminated"
    finally:
        await blocker.close()
        await rival.close()
    late = await run.record('"late"')

    assert answer.verdict == "kept"
    assert late.verdict == "lost"
    kinds = await here.database.fetch("select seq, kind from grctl.events order by seq")
    assert [tuple(row) for row in kinds] == [(1, "step.completed"), (2, "run.terminated")]


async def test_a_row_that_the_database_refuses_fails_its_own_run_alone(here: Setting) -> None:
    runs = [await here.run_of_ours() for _ in range(9)]
    records = {run.run_id: [run.record('"a"'), run.record('"b"')] for run in runs}
    bad = runs[4]
    refused = bad.record("this is no JSON")
    followed = bad.record('"after it"')
    others = [run.record('"c"') for run in runs if run is not bad]

    done = await asyncio.gather(refused, followed, return_exceptions=True)
    await asyncio.gather(*others, *(each for group in records.values() for each in group))

    assert all(isinstance(each, RecordRefusedError) for each in done)
    assert "the database refused to record task.completed t" in str(done[0])
    for run in runs:
        assert [body for _, body in await here.rows(run)][:2] == ["a", "b"]
    # What the run records next takes the number of the row that was refused: there is no gap.
    await bad.record('"its failure"', kind="step.failed")
    assert await here.rows(bad) == [(1, "a"), (2, "b"), (3, "its failure")]


async def test_a_run_that_was_taken_away_gets_nothing_written_and_its_neighbours_do(
    here: Setting,
) -> None:
    mine, taken = await here.run_of_ours(), await here.run_of_ours()
    await here.database.execute(
        "update grctl.runs set epoch = 2, owner = null where run_id = $1", taken.run_id
    )
    answers = await asyncio.gather(mine.record(), taken.record(), taken.record(), mine.record())

    assert [seq for seq, _ in await here.rows(mine)] == [1, 2]
    assert await here.rows(taken) == []
    assert answers[1].verdict == "lost"


async def test_a_lone_row_of_a_run_that_was_taken_away_is_not_written(here: Setting) -> None:
    taken = await here.run_of_ours()
    await here.database.execute("update grctl.runs set epoch = 2 where run_id = $1", taken.run_id)

    [answer] = await within(10, taken.record())

    assert answer.verdict == "lost"
    assert await here.rows(taken) == []


async def test_a_step_that_was_claimed_anew_by_the_same_worker_cannot_end_as_it_was(
    here: Setting,
) -> None:
    run = await here.run_of_ours()
    await here.database.execute("update grctl.runs set epoch = 2 where run_id = $1", run.run_id)
    ending = Transition(go="end", status="completed", result='"done"')

    answer = await run.record("{}", kind="step.completed", transition=ending)

    assert answer.verdict == "lost"
    assert await here.rows(run) == []
    assert await here.database.fetchval("select status from grctl.runs") == "running"


async def test_small_rows_of_all_runs_go_by_the_first_writer(here: Setting) -> None:
    runs = [await here.run_of_ours() for _ in range(4)]

    await within(20, *(run.record() for run in runs for _ in range(5)))

    assert await here.slots() == {0}


async def test_large_rows_go_by_the_next_writer_while_the_first_has_a_batch_of_them_waiting(
    here: Setting,
) -> None:
    first, second = await here.run_of_ours(), await here.run_of_ours()
    large = '"' + 600 * 1024 * "x" + '"'

    records = [first.record(large) for _ in range(4)]
    records += [second.record(), first.record()]

    # A run keeps to its writer while its rows are on their way; only then may it change.
    assert (first.slot, second.slot) == (0, 1)
    await within(20, *records)
    await within(20, second.record())
    assert second.slot == 0
    assert first.delivered == [1, 2, 3, 4, 5]
    assert second.delivered == [1, 2]
    assert await here.slots() == {0, 1}


async def test_no_two_writers_have_a_batch_number_in_common(here: Setting) -> None:
    first, second = await here.run_of_ours(), await here.run_of_ours()
    large = '"' + 1024 * 1024 * "x" + '"'

    # In turn: the run whose rows a group of a replay are told apart by, and its neighbour.
    for _ in range(5):
        await within(20, first.record(large), second.record())

    numbers = await here.database.fetch("select run_id, batch from grctl.events order by seq")
    by_first = {row["batch"] for row in numbers if row["run_id"] == first.run_id}
    by_second = {row["batch"] for row in numbers if row["run_id"] == second.run_id}
    assert len(by_first) == len(by_second) == 5
    assert not by_first & by_second


@pytest.mark.slow
@hypothesis_settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    moves=st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=120),
    cuts=st.sets(st.integers(0, 119), max_size=3),
)
async def test_every_run_is_dense_and_in_order_under_two_writers_and_any_interleaving(
    database: Database, proxy: Proxy, moves: list[tuple[int, bool]], cuts: set[int]
) -> None:
    settings = load_settings(database_url=proxy.url, writers=2, batch_rows=7)
    async with journaling(database, settings) as here:
        runs = [await here.run_of_ours() for _ in range(6)]
        records = []
        for place, (number, pauses) in enumerate(moves):
            records.append(runs[number].record(f'"{place}"'))
            if place in cuts:
                proxy.cut_all()
            if pauses:
                await asyncio.sleep(0)
        await within(20, *records)
        for number, run in enumerate(runs):
            wanted = [str(place) for place, (which, _) in enumerate(moves) if which == number]
            rows = await here.rows(run)
            assert rows == list(enumerate(wanted, start=1))
            assert run.delivered == list(range(1, len(wanted) + 1))


async def within(seconds: float, *records: Commit) -> list[Any]:
    """Their answers. (Not by wait_for: a record cannot be cancelled.)"""
    _, late = await asyncio.wait(records, timeout=seconds)
    assert not late, f"{len(late)} of {len(records)} records have no answer after {seconds} s"
    return [each.result() for each in records]


async def waiting_for_locks(database: Database, number: int) -> bool:
    found = await database.fetchval(
        "select count(*) from pg_stat_activity "
        "where datname = current_database() and wait_event_type = 'Lock'"
    )
    return bool(found >= number)
