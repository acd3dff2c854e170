"""`grctl db ...`: the versions of the schema in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from grctl.cli.session import DatabaseUrl, Schema
from grctl.errors import ConfigurationError

if TYPE_CHECKING:
    from grctl.settings import Settings

app = typer.Typer(help="The schema in the database: make, upgrade, check.", no_args_is_help=True)

AsSql = Annotated[
    bool, typer.Option("--sql", help="Print the SQL instead of running it; needs no database.")
]


@app.command()
def upgrade(
    revision: Annotated[str, typer.Argument(help="The version to reach.")] = "head",
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    sql: AsSql = False,
    start: Annotated[
        str, typer.Option("--from", help="With --sql: the version that the database has.")
    ] = "base",
) -> None:
    """Bring the schema up to date, making it if it is not there. Safe to repeat."""
    import asyncio

    from grctl.postgres import migrations

    settings = _settings(database_url, schema)
    if sql:
        typer.echo(migrations.as_sql(settings.db_schema, start=start, end=revision))
        return
    url = settings.require_database_url()
    asyncio.run(migrations.upgrade(url, settings.db_schema, revision))
    _print_current(settings)


@app.command()
def downgrade(
    revision: Annotated[str, typer.Argument(help="-1: one version back; base: remove it.")] = "-1",
    database_url: DatabaseUrl = None,
    schema: Schema = None,
    sql: AsSql = False,
    start: Annotated[
        str, typer.Option("--from", help="With --sql: the version that the database has.")
    ] = "head",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take the schema back to an older version. What only the newer one could hold is lost."""
    import asyncio

    from grctl.postgres import migrations

    settings = _settings(database_url, schema)
    if sql:
        if revision.startswith("-"):
            raise ConfigurationError(
                "with --sql, name the version to reach: `grctl db downgrade base --sql`"
            )
        typer.echo(migrations.as_sql(settings.db_schema, start=start, end=revision))
        return
    url = settings.require_database_url()
    if not yes:
        typer.confirm(f"Take the schema {settings.db_schema!r} back, and lose data?", abort=True)
    asyncio.run(migrations.downgrade(url, settings.db_schema, revision))
    _print_current(settings)


@app.command()
def current(database_url: DatabaseUrl = None, schema: Schema = None) -> None:
    """Print the version of the schema."""
    _print_current(_settings(database_url, schema))


@app.command()
def check(database_url: DatabaseUrl = None, schema: Schema = None) -> None:
    """Exit with 0 if the schema is the one this grctl needs, else with 3."""
    import asyncio

    settings = _settings(database_url, schema)
    asyncio.run(_check(settings))
    typer.echo(f"the schema {settings.db_schema!r} is up to date")


async def _check(settings: Settings) -> None:
    from grctl.postgres import migrations

    async with migrations.connection(settings.require_database_url()) as conn:
        await migrations.check(conn, settings.db_schema)


async def _current(settings: Settings) -> str | None:
    from grctl.postgres import migrations

    async with migrations.connection(settings.require_database_url()) as conn:
        return await migrations.current(conn, settings.db_schema)


def _print_current(settings: Settings) -> None:
    import asyncio

    from grctl.postgres import migrations

    found = asyncio.run(_current(settings))
    latest = " (the latest)" if found == migrations.known_revisions().head else ""
    typer.echo(f"{settings.db_schema}: {found or 'no version'}{latest}")


def _settings(database_url: str | None, schema: str | None) -> Settings:
    from grctl.settings import load_settings

    return load_settings(database_url=database_url, db_schema=schema)
