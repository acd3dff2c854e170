"""`grctl config`: every setting, its value, and where it comes from."""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer


def config(
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Print every setting, its value and its meaning; passwords are masked."""
    from grctl.settings import Settings, load_settings, unknown_variables, variable_of

    values = load_settings().masked()
    if as_json:
        typer.echo(json.dumps(values, indent=2))
    else:
        for name, value in values.items():
            variable = variable_of(name)
            shown = "-" if value is None else value
            origin = "" if os.environ.get(variable) else "   (default)"
            typer.echo(f"{variable}={shown}{origin}")
            typer.echo(f"    {Settings.model_fields[name].description}")
    for warning in unknown_variables():
        typer.echo(f"warning: {warning}", err=True)
