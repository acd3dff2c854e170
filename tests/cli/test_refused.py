"""What the database does not let a command do, or does not take: a line, and no traceback."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support import Database, Finished, run_cli


@pytest_asyncio.fixture
async def stranger(database: Database) -> AsyncIterator[str]:
    """The URL of a role without any rights."""
    role = f"grctl_test_{await database.fetchval('select pg_backend_pid()')}"
    await database.execute(f"create role {role} login password 'x'")
    yield f"postgresql://{role}:x@{database.dsn.partition('@')[2]}"
    await database.execute(f"drop owned by {role} cascade; drop role {role}")


def one_line(done: Finished) -> str:
    assert done.out == ""
    assert done.err.startswith("error: "), done.err
    assert done.err.count("\n") == 1, done.err
    return done.err


@pytest.mark.parametrize(
    "command", ["list", "db upgrade", "send x y", "prune --older-than 1d --status failed"]
)
async def test_a_role_without_rights_is_told_which_it_lacks(stranger: str, command: str):
    done = await run_cli(*command.split(), database_url=stranger)
    assert done.code == 1
    assert "the database refused it: permission denied for schema grctl" in one_line(done)


async def test_a_database_that_cannot_be_written_says_so(database: Database):
    name = await database.fetchval("select current_database()")
    await database.execute(
        "insert into grctl.workflow_types "
        "(wf_type, start_step, step_names, event_names, query_names, update_names) "
        "values ('t', 's', '{s}', '{}', '{}', '{}');"
        f"alter database {name} set default_transaction_read_only = on"
    )
    done = await run_cli("start", "t", database_url=database.dsn)
    assert (done.code, done.out) == (1, "")
    # The lines before it are of tries: it might have been a fail-over.
    last = done.err.splitlines()[-1]
    assert last.startswith("error: the database refused it: cannot execute")
    assert "read-only transaction" in last
    assert (await run_cli("list", database_url=database.dsn)).code == 0


async def test_what_is_no_text_is_no_run_and_wrong_usage(database: Database):
    done = await run_cli("describe", "\udcff", database_url=database.dsn)
    assert done.code == 1
    assert "there is no workflow with the id" in one_line(done)
    done = await run_cli("list", "--id-prefix", "\udcff", database_url=database.dsn)
    assert done.code == 2
    assert "lone surrogates" in one_line(done)
