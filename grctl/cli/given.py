"""JSON that is given on the command line, in a file, or on stdin."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NoReturn

from grctl.cli.exits import ExitCode
from grctl.cli.session import fail

__all__ = ["parse_json", "read_json"]


def read_json(what: str, text: str | None, file: Path | None) -> Any:
    """The value of the option ``--WHAT`` or ``--WHAT-file``; None if neither was given."""
    if text is not None and file is not None:
        fail(ExitCode.USAGE, f"give --{what} or --{what}-file, not both")
    where = f"--{what}"
    if file is not None:
        where = "stdin" if str(file) == "-" else str(file)
        try:
            text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            fail(ExitCode.USAGE, f"cannot read the {what}: {error}")
    return None if text is None else parse_json(text, f"the {what} in {where}")


def parse_json(text: str, what: str) -> Any:
    """The value of a JSON text; anything else is wrong usage, and ``what`` says of which part."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        fail(ExitCode.USAGE, f"{what} is not JSON: {error}")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
