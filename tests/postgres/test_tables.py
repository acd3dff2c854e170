"""The tables that reads are built from are those that the migrations make."""

from __future__ import annotations

import re

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from grctl.postgres import migrations
from grctl.postgres.tables import metadata_for


async def differences(dsn: str, schema: str) -> list[object]:
    def compare(connection: Connection) -> list[object]:
        def is_ours(name: str | None, kind: str, _parents: object) -> bool:
            return name == schema if kind == "schema" else name != migrations.VERSION_TABLE

        context = MigrationContext.configure(
            connection,
            opts={"include_schemas": True, "include_name": is_ours, "compare_type": True},
        )
        return compare_metadata(context, metadata_for(schema))

    # The schema must not be the default one (the user may be named like it), or it loses its name.
    elsewhere = {"server_settings": {"search_path": "public"}}
    url = dsn.replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url, connect_args=elsewhere)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(compare)
    finally:
        await engine.dispose()


async def test_the_tables_are_those_of_the_migrated_schema(database):
    assert await differences(database.dsn, "grctl") == []


async def test_also_in_a_schema_of_another_name(empty_database):
    await migrations.upgrade(empty_database.dsn, "flows")
    assert await differences(empty_database.dsn, "flows") == []


async def test_a_difference_would_be_seen(database):
    await database.execute("alter table grctl.runs alter step_name type varchar(10)")
    await database.execute("alter table grctl.events add surprise text")
    await database.execute("drop index grctl.runs_parent")
    assert len(await differences(database.dsn, "grctl")) == 3


async def test_partial_indexes_have_the_conditions_that_are_written_down(database):
    rows = await database.fetch(
        """
        select c.relname, pg_get_expr(i.indpred, i.indrelid) as condition
        from pg_index i
        join pg_class c on c.oid = i.indexrelid
        where c.relnamespace = 'grctl'::regnamespace and i.indpred is not null
        """
    )
    found = {row["relname"]: re.sub(r"[()]", "", row["condition"]).lower() for row in rows}
    written = {
        index.name: str(index.dialect_options["postgresql"]["where"])
        for table in metadata_for("grctl").tables.values()
        for index in table.indexes
        if index.dialect_options["postgresql"]["where"] is not None
    }
    assert found == written
