"""How alembic reaches the database: within the transaction that is given, or by itself.

`grctl db ...` hands over a connection, locked and in a transaction, by `config.attributes`; the
`alembic` command of a developer has none, and takes database and schema from the settings.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from alembic import context

from grctl.postgres import migrations
from grctl.settings import load_settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

config = context.config
schema: str = config.attributes.get("schema") or load_settings().db_schema


def _run_in(connection: Connection) -> None:
    context.configure(
        connection=connection,
        version_table=migrations.VERSION_TABLE,
        version_table_schema=schema,
    )
    with context.begin_transaction():
        context.run_migrations()


def _emit() -> None:
    """As SQL text, for someone else to apply: one transaction, with the lock and the schema."""
    context.configure(
        dialect_name="postgresql",
        version_table=migrations.VERSION_TABLE,
        version_table_schema=schema,
        literal_binds=True,
        output_buffer=config.output_buffer,
    )
    with context.begin_transaction():
        for statement in migrations.preparation(schema):
            context.get_context().impl.static_output(f"{statement};\n")
        context.run_migrations()


if context.is_offline_mode():
    _emit()
elif (given := config.attributes.get("connection")) is not None:
    _run_in(given)
else:
    asyncio.run(migrations.in_transaction(load_settings().require_database_url(), schema, _run_in))
