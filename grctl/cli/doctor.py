"""`grctl doctor`: what is wrong, or soon will be, and what to do."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import typer

from grctl.cli.session import AsJson, DatabaseUrl, Schema, print_json, print_text
from grctl.cli.words import printable

if TYPE_CHECKING:
    from grctl.models.findings import Finding
    from grctl.settings import Settings

DOCTOR_EPILOG = """Examples:

\b
  grctl doctor
  grctl doctor --json | jq -r '.findings[] | select(.severity == "error") | .text'

Exit codes: 0 nothing found, 1 warnings, 2 errors. It reads only, and may be run at any time. Run it
where the workers run, with their settings."""

_WIDTH = 96


def doctor(
    as_json: AsJson = False, database_url: DatabaseUrl = None, schema: Schema = None
) -> None:
    """Examine the database, the settings and the workers: each finding says what to do."""
    import asyncio

    from grctl import log
    from grctl.settings import load_settings

    settings = load_settings(database_url=database_url, db_schema=schema)
    settings.require_database_url()
    log.configure(settings.log_format, "warning")
    findings = asyncio.run(_examine(settings, shown=not as_json))
    worst = max((finding.severity for finding in findings), default=0)
    if as_json:
        print_json({"findings": [finding.to_dict() for finding in findings]})
    elif not findings:
        print_text("nothing found: all is well")
    raise typer.Exit(int(worst))


async def _examine(settings: Settings, *, shown: bool) -> list[Finding]:
    from grctl.postgres.doctor import examine

    findings = []
    async for finding in examine(settings):
        findings.append(finding)
        if shown:
            _print(finding)
    return findings


def _print(finding: Finding) -> None:
    head = f"{finding.severity.name.lower():<7}  {finding.name}: {printable(finding.text)}"
    print_text(textwrap.fill(head, _WIDTH, subsequent_indent=" " * 9))
    if finding.advice:
        advice = f"→ {printable(finding.advice)}"
        indent = " " * 9
        print_text(
            textwrap.fill(advice, _WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")
        )
