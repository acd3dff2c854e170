from __future__ import annotations

import asyncio

import asyncpg
import pytest

from grctl.errors import DatabaseNotMigratedError, DatabaseTooNewError
from grctl.postgres import migrations
from grctl.settings import with_database
from tests.support import run_cli

UNREACHABLE = "postgresql://me:secret@127.0.0.1:1/nowhere"
HEAD = migrations.known_revisions().head


async def objects(database, schema: str = "grctl") -> set[tuple[str, str]]:
    """Tables, indexes and functions of a schema, as name and definition."""
    # The server's user is called grctl, too: its own schema would not be named.
    await database.execute("set search_path = ''")
    rows = await database.fetch(
        """
        select relname as name, relkind::text || coalesce(pg_get_indexdef(i.indexrelid), '') as what
        from pg_class left join pg_index as i on i.indexrelid = oid
        where relnamespace = to_regnamespace($1)
        union all
        select proname, pg_get_functiondef(oid) from pg_proc
        where pronamespace = to_regnamespace($1)
        """,
        schema,
    )
    return {(row["name"], row["what"].replace(f"{schema}.", "grctl.")) for row in rows}


async def test_upgrade_makes_the_schema_and_may_be_repeated(empty_database):
    for _ in range(2):
        done = await run_cli("db", "upgrade", database_url=empty_database.dsn)
        assert done.code == 0, done.err
        assert done.out == f"grctl: {HEAD} (the latest)\n"
    assert (await run_cli("db", "check", database_url=empty_database.dsn)).code == 0
    assert ("runs", "r") in await objects(empty_database)


async def test_downgrade_to_base_leaves_nothing_behind(empty_database):
    await migrations.upgrade(empty_database.dsn)
    done = await run_cli("db", "downgrade", "base", "--yes", database_url=empty_database.dsn)
    assert done.code == 0, done.err
    assert done.out == "grctl: no version\n"
    left = {name for name, _ in await objects(empty_database)}
    assert left <= {"alembic_version", "alembic_version_pkc"}
    await migrations.upgrade(empty_database.dsn)
    assert ("runs", "r") in await objects(empty_database)


async def test_downgrade_asks_first(empty_database):
    await migrations.upgrade(empty_database.dsn)
    done = await run_cli("db", "downgrade", database_url=empty_database.dsn)
    assert done.code == 1
    assert await empty_database.fetchval("select count(*) from grctl.runs") == 0


async def test_two_upgrades_at_once_are_one_after_the_other(empty_database):
    await asyncio.gather(*(migrations.upgrade(empty_database.dsn) for _ in range(4)))
    await migrations.check(await empty_database.connect())


async def test_an_upgrade_waits_for_another_one(empty_database):
    lock = migrations.preparation("grctl")[0]
    conn = await empty_database.connect()
    async with conn.transaction():
        await conn.execute(lock)
        upgrade = asyncio.create_task(migrations.upgrade(empty_database.dsn))
        waiting = (
            "select count(*) from pg_locks where locktype = 'advisory' and not granted"
            " and database = (select oid from pg_database where datname = current_database())"
        )
        while not await conn.fetchval(waiting):
            assert not upgrade.done()
            await asyncio.sleep(0.01)
        assert await conn.fetchval("select to_regnamespace('grctl')") is None
    await upgrade
    await migrations.check(conn)


async def test_the_printed_sql_makes_the_same_schema(empty_database):
    printed = await run_cli("db", "upgrade", "--sql")
    assert printed.code == 0, printed.err
    await empty_database.execute(printed.out)
    await migrations.check(await empty_database.connect())
    await migrations.upgrade(empty_database.dsn, "by_hand")
    assert await objects(empty_database) == await objects(empty_database, "by_hand")

    undone = await run_cli("db", "downgrade", "base", "--sql")
    assert undone.code == 0, undone.err
    await empty_database.execute(undone.out)
    assert {name for name, _ in await objects(empty_database)} <= {
        "alembic_version",
        "alembic_version_pkc",
    }


async def test_two_schemas_of_one_database_live_apart(empty_database):
    await migrations.upgrade(empty_database.dsn, "first")
    await migrations.upgrade(empty_database.dsn, "second")
    await migrations.downgrade(empty_database.dsn, "first", "base")
    conn = await empty_database.connect()
    await migrations.check(conn, "second")
    assert await migrations.current(conn, "first") is None
    assert await empty_database.fetchval("select to_regnamespace('grctl')") is None


async def test_a_user_without_rights_on_the_database_upgrades_a_schema_made_for_them(
    empty_database,
):
    role = f"grctl_test_{await empty_database.fetchval('select pg_backend_pid()')}"
    await empty_database.execute(f"create role {role} login password 'x'; create schema theirs")
    await empty_database.execute(f"alter schema theirs owner to {role}")
    try:
        host = empty_database.dsn.partition("@")[2]
        await migrations.upgrade(f"postgresql://{role}:x@{host}", "theirs")
        await migrations.check(await empty_database.connect(), "theirs")
    finally:
        await empty_database.execute(f"drop owned by {role} cascade; drop role {role}")


async def test_a_database_without_the_schema_ends_a_check_with_3(empty_database):
    with pytest.raises(DatabaseNotMigratedError, match="run `grctl db upgrade`"):
        await migrations.check(await empty_database.connect())
    done = await run_cli("db", "check", database_url=empty_database.dsn)
    assert done.code == 3
    assert "run `grctl db upgrade`" in done.err
    assert "Traceback" not in done.err


async def test_a_newer_schema_is_not_touched(database):
    await database.execute("update grctl.alembic_version set version_num = '9999'")
    with pytest.raises(DatabaseTooNewError, match="a newer grctl"):
        await migrations.check(await database.connect())
    for command in (["check"], ["upgrade"], ["downgrade", "--yes"]):
        done = await run_cli("db", *command, database_url=database.dsn)
        assert done.code == 3
        assert "a newer grctl" in done.err
    assert await database.fetchval("select version_num from grctl.alembic_version") == "9999"


async def test_an_unreachable_database_ends_with_3_and_shows_no_password():
    done = await run_cli("db", "check", database_url=UNREACHABLE)
    assert done.code == 3
    assert "cannot be reached" in done.err
    assert "secret" not in done.err
    assert "Traceback" not in done.err


async def test_a_missing_url_is_wrong_usage():
    done = await run_cli("db", "check")
    assert done.code == 2
    assert "set GRCTL_DATABASE_URL" in done.err


async def test_an_unknown_version_is_a_failure_with_a_reason(empty_database):
    offline = await run_cli("db", "upgrade", "nonsense", "--sql")
    assert offline.code == 2
    assert "there is no version 'nonsense'" in offline.err
    online = await run_cli("db", "upgrade", "nonsense", database_url=empty_database.dsn)
    assert online.code == 2
    assert "there is no version 'nonsense'" in online.err


async def test_a_missing_database_is_made(server_url):
    name = "grctl_test_made_by_ensure"
    url = with_database(server_url, name)
    try:
        await asyncio.gather(*(migrations.ensure_database(url) for _ in range(3)))
        conn = await asyncpg.connect(url)
        await conn.close()
    finally:
        conn = await asyncpg.connect(server_url)
        await conn.execute(f"drop database if exists {name} with (force)")
        await conn.close()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("select * from grctl.runs", "select * from other.runs"),
        ("as $$ select grctl.now() $$", "as $$ select other.now() $$"),
        ("notify('grctl.wake')", "notify('other.wake')"),
        ("%grctl.runs%rowtype", "%other.runs%rowtype"),
        ("grctl.%I", "other.%I"),
        ("-- tables of grctl. Everything", "-- tables of grctl. Everything"),
        ("my_grctl.x, x.grctl.y, grctl_clock.shift", "my_grctl.x, x.grctl.y, grctl_clock.shift"),
        ("a:b ::text %s", "a:b ::text %s"),
    ],
)
def test_the_schemas_name_is_put_in_where_it_qualifies(text, expected):
    assert migrations.qualify(text, "other") == expected
    assert migrations.qualify(text, "grctl") == text
