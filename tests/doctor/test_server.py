"""Findings about the server and the way to it, each brought about by a real server."""

from __future__ import annotations

import asyncpg
import pytest

from grctl.dev import EmbeddedPostgres
from grctl.models.findings import Severity
from grctl.postgres import doctor_server, migrations
from grctl.postgres.doctor import examine
from grctl.postgres.sql import statements
from grctl.settings import Settings, load_settings, with_database
from tests.chaos.faults.needs import FAKETIME, needs
from tests.doctor.conftest import Examine
from tests.support import Database, run_cli


async def test_a_sound_database_has_no_findings(examined: Examine) -> None:
    assert await examined() == {}


async def test_a_server_that_nobody_can_reach(examined: Examine) -> None:
    found = await examined(database_url="postgresql://me:secret@127.0.0.1:1/app")
    assert set(found) == {"connection"}
    assert found["connection"].severity is Severity.ERROR
    assert "secret" not in str(found["connection"])


async def test_a_user_and_a_database_that_are_not_there(
    examined: Examine, database: Database
) -> None:
    missing = await examined(database_url=with_database(database.dsn, "not_there"))
    assert '"not_there" does not exist' in missing["connection"].text


async def test_a_role_that_may_not_look(examined: Examine, database: Database) -> None:
    role = f"grctl_test_{await database.fetchval('select pg_backend_pid()')}"
    await database.execute(f"create role {role} login password 'x'")
    host = database.dsn.partition("@")[2]
    found = await examined(database_url=f"postgresql://{role}:x@{host}")
    assert set(found) == {"privileges"}
    assert found["privileges"].severity is Severity.ERROR
    assert found["privileges"].text == "permission denied for schema grctl"
    assert "grant" in found["privileges"].advice
    await database.execute(f"drop role {role}")


async def test_a_server_that_goes_away_meanwhile(settings: Settings, database: Database) -> None:
    name = await database.fetchval("select current_database()")
    await database.execute(f"alter database {name} set statement_timeout = '5s'")
    found = []
    async for finding in examine(settings):
        found.append(finding.name)
        if finding.name == "statement_timeout":
            await database.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name = 'grctl doctor' and datname = current_database()"
            )
    assert found[-1] == "connection"


async def test_a_schema_that_is_not_there_is_older_or_newer(
    examined: Examine, database: Database
) -> None:
    found = await examined(db_schema="elsewhere")
    assert "grctl db upgrade" in found["migrations"].advice
    await database.execute("update grctl.alembic_version set version_num = '9999'")
    found = await examined()
    assert found["migrations"].severity is Severity.ERROR
    assert "upgrade grctl here" in found["migrations"].advice


async def test_a_variable_that_sets_nothing(
    examined: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRCTL_CONCURENCY", "7")
    found = await examined()
    assert "did you mean GRCTL_CONCURRENCY" in found["unknown_variable"].text


async def test_all_that_a_badly_set_up_server_has(bad_server: EmbeddedPostgres) -> None:
    await migrations.upgrade(bad_server.dsn)
    connection = await asyncpg.connect(bad_server.dsn)
    await connection.fetch("select pg_create_logical_replication_slot('left_behind', 'pgoutput')")
    await connection.execute("create table burnt (n integer)")
    async with connection.transaction():
        await connection.execute("insert into burnt values (0)")
        await connection.execute("prepare transaction 'forgotten'")
    # 160,000 transaction ids: more than one and a half of the shortest limit that there is.
    for _ in range(4):
        await connection.execute(
            "do $$ begin for n in 1..40000 loop begin insert into burnt values (n);"
            " exception when others then raise; end; end loop; end $$"
        )
    more = [await asyncpg.connect(bad_server.dsn) for _ in range(7)]  # of 12, 3 are reserved
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doctor_server, "OLD_SNAPSHOT_SECONDS", 0.0)
        settings = load_settings(database_url=bad_server.dsn)
        findings = [each async for each in examine(settings)]
    for each in more:
        await each.close()
    await connection.execute("rollback prepared 'forgotten'")
    await connection.execute("select pg_drop_replication_slot('left_behind')")
    await connection.close()

    assert {each.name: each.severity.name for each in findings} == {
        "fsync": "ERROR",
        "full_page_writes": "ERROR",
        "synchronous_commit": "ERROR",
        "default_transaction_isolation": "ERROR",
        "autovacuum": "ERROR",
        "track_counts": "ERROR",
        "old_snapshot": "WARNING",
        "connections": "WARNING",
        "wraparound": "WARNING",
    }
    assert all(each.advice for each in findings)
    holders = [each.text for each in findings if each.name == "old_snapshot"]
    assert any("prepared transaction forgotten" in text for text in holders)
    assert any("replication slot left_behind" in text for text in holders)
    assert [each.text for each in findings if each.name == "connections"] == [
        "9 of 9 connections are in use"
    ]


async def test_a_standby(standby: EmbeddedPostgres, examined: Examine) -> None:
    found = await examined(database_url=standby.dsn)
    assert set(found) == {"standby"}  # that it does not notify is no defect of its own
    assert found["standby"].severity is Severity.ERROR
    assert "target_session_attrs=read-write" in found["standby"].advice


async def test_notifications_that_are_asked_of_a_standby(
    standby: EmbeddedPostgres, examined: Examine
) -> None:
    found = await examined(listen_url=standby.dsn)
    assert set(found) == {"notifications"}
    assert "(cannot execute LISTEN during recovery)" in found["notifications"].text


async def test_a_server_that_is_too_old(database: Database) -> None:
    """None so old is at hand: the row that it would give, told of a server that is there."""
    connection = await asyncpg.connect(database.dsn)
    row = dict(await connection.fetchrow(statements("doctor", "grctl")["server"]))
    await connection.close()
    assert not [f for f in doctor_server.findings(row, row["now"]) if f.name == "server_version"]
    row |= {"version_num": 130_021, "version": "13.21"}
    [found] = [f for f in doctor_server.findings(row, row["now"]) if f.name == "server_version"]
    assert found.severity is Severity.ERROR
    assert found.text == "PostgreSQL 13.21 is too old for grctl"


async def test_a_transaction_timeout(examined: Examine, database: Database) -> None:
    name = await database.fetchval("select current_database()")
    if await database.fetchval("select current_setting('server_version_num')::int < 170000"):
        pytest.skip("PostgreSQL has it since 17")
    await database.execute(f"alter database {name} set transaction_timeout = '5s'")
    found = await examined()
    assert set(found) == {"transaction_timeout"}
    assert found["transaction_timeout"].text.startswith("transaction_timeout is 5000 ms")


async def test_what_a_role_or_a_database_sets_counts(examined: Examine, database: Database) -> None:
    name = await database.fetchval("select current_database()")
    for setting in ("statement_timeout", "lock_timeout", "idle_session_timeout"):
        await database.execute(f"alter database {name} set {setting} = '5s'")
    await database.execute(f"alter database {name} set default_transaction_read_only = on")

    found = await examined()

    assert set(found) == {
        "statement_timeout",
        "lock_timeout",
        "idle_session_timeout",
        "default_transaction_read_only",
    }
    assert found["statement_timeout"].severity is Severity.WARNING
    assert "5000 ms" in found["statement_timeout"].text


async def test_a_clock_that_tests_have_shifted(examined: Examine, database: Database) -> None:
    name = await database.fetchval("select current_database()")
    await database.execute(f"alter database {name} set grctl_clock.shift = '1 hour'")
    found = await examined()
    assert set(found) == {"clock_shift"}
    assert found["clock_shift"].severity is Severity.ERROR


@needs(FAKETIME)
async def test_a_clock_of_this_host_that_is_wrong(database: Database) -> None:
    done = await run_cli(
        "doctor",
        database_url=database.dsn,
        env={
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME": "+2h",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        },
    )
    assert "clock_skew: the database's clock is 72" in done.out.replace("\n" + " " * 9, " ")
    assert "behind this host's" in done.out.replace("\n" + " " * 9, " ")


async def test_an_old_snapshot_and_who_holds_it(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_server, "OLD_SNAPSHOT_SECONDS", 0.0)
    other = await asyncpg.connect(database.dsn, server_settings={"application_name": "report"})
    async with other.transaction(isolation="repeatable_read"):
        await other.fetch("select * from grctl.runs")

        # Other tests' transactions on this server may be there, too, and older.
        held = [f async for f in examine(settings) if f.name == "old_snapshot"]
        [found] = [f for f in held if f.details["pid"] == other.get_server_pid()]

        assert "a transaction of report (pid " in found.text
        assert found.details["state"] == "idle in transaction"
        assert "pg_terminate_backend" in found.advice
    await other.close()


async def test_more_workers_than_there_are_connections_for(examined: Examine) -> None:
    found = await examined(pool_size=1000)
    assert set(found) == {"connections"}
    assert "do not fit" in found["connections"].text


async def test_the_command_says_what_to_do_and_exits_by_the_worst(
    database: Database,
) -> None:
    name = await database.fetchval("select current_database()")
    await database.execute(f"alter database {name} set statement_timeout = '5s'")
    for setting in ("fsync", "full_page_writes"):  # the server's own, which is a test's
        assert await database.fetchval(f"show {setting}") == "off"

    done = await run_cli("doctor", database_url=database.dsn)
    assert done.code == 2
    assert "warning  statement_timeout: statement_timeout is 5000 ms" in done.out
    assert "→ alter role … set statement_timeout = 0" in done.out

    told = await run_cli("doctor", "--json", database_url=database.dsn)
    assert told.code == 2
    assert '"name": "statement_timeout", "severity": "warning"' in told.out

    nobody = await run_cli("doctor", database_url="postgresql://127.0.0.1:1/app")
    assert nobody.code == 2
    assert nobody.out.startswith("error    connection: no connection to the database")
