from __future__ import annotations

import json
import subprocess
import sys

import pytest

from grctl.cli.exits import ExitCode, exit_code_of
from grctl.errors import ConfigurationError, DatabaseNotMigratedError, DatabaseTooNewError
from grctl.settings import Settings, variable_of
from tests.support import environment, run_cli

URL = "postgresql://me:secret@db.example:5432/app"


async def test_config_shows_every_setting_with_its_meaning_and_no_password():
    done = await run_cli("config", database_url=URL)
    assert done.code == 0, done.err
    assert "GRCTL_DATABASE_URL=postgresql://me:****@db.example:5432/app\n" in done.out
    assert "GRCTL_CONCURRENCY=500   (default)\n" in done.out
    assert "secret" not in done.out
    for name, field in Settings.model_fields.items():
        assert f"{variable_of(name)}=" in done.out
        assert field.description
        assert field.description in done.out


async def test_config_as_json_can_be_read_by_a_program():
    done = await run_cli("config", "--json", database_url=URL)
    values = json.loads(done.out)
    assert set(values) == set(Settings.model_fields)
    assert values["database_url"] == "postgresql://me:****@db.example:5432/app"


async def test_a_mistyped_variable_is_warned_of():
    done = await run_cli("config", env={"GRCTL_LEASE_SECOND": "1"})
    assert done.code == 0
    assert "did you mean GRCTL_LEASE_SECONDS?" in done.err


async def test_a_bad_value_is_wrong_usage_told_in_one_line():
    done = await run_cli("config", env={"GRCTL_CONCURRENCY": "many"})
    assert done.code == 2
    assert done.err.startswith("error: GRCTL_CONCURRENCY='many': ")
    assert "Traceback" not in done.err


async def test_an_unknown_command_is_wrong_usage():
    assert (await run_cli("no-such-command")).code == 2


async def test_the_version_is_printed():
    done = await run_cli("--version")
    assert done.code == 0
    assert done.out.startswith("grctl ")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DatabaseNotMigratedError("x"), ExitCode.DATABASE),
        (DatabaseTooNewError("x"), ExitCode.DATABASE),
        (ConnectionRefusedError("x"), ExitCode.DATABASE),
        (ConfigurationError("x"), ExitCode.USAGE),
        (ValueError("x"), ExitCode.FAILURE),
    ],
)
def test_each_error_has_its_exit_code(error, code):
    assert exit_code_of(error) == code


def test_the_command_line_starts_without_what_is_heavy():
    """Import time itself depends on the machine; what is imported does not."""
    code = (
        "import sys, grctl.cli.main\n"
        "heavy = {'alembic', 'asyncpg', 'pydantic', 'sqlalchemy', 'structlog', 'uvicorn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout.strip() == "[]"
