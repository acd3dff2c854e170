"""`grctl init`: a small project that works at once."""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from grctl.errors import ConfigurationError
from grctl.version import __version__

EPILOG = """Example:

\b
  grctl init signups
  cd signups
  python3 -m venv .venv
  .venv/bin/pip install -e '.[dev]'
  .venv/bin/pytest
  .venv/bin/grctl dev"""

TEMPLATES = Path(__file__).parent / "project"
SUFFIX = ".template"
# Their dots would hide them, and git would obey them, where the templates lie.
_HIDDEN = {"gitignore": ".gitignore", "dockerignore": ".dockerignore"}
_NAME = re.compile(r"[a-z](?:[a-z0-9_-]*[a-z0-9])?")


def init(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Of the project and its directory: a-z, 0-9, - and _."),
    ],
    directory: Annotated[
        Path | None,
        typer.Option(help="Where to write it; default: NAME, in the working directory."),
    ] = None,
) -> None:
    """Write a small project: a workflow, its tests, and what deploys it."""
    package = package_of(name)
    target = directory or Path(name)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigurationError(
            f"{target} is there already, and not empty: name another directory"
        )
    for path, text in files(name, package):
        file = target / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        print(file)
    print(
        f"next: cd {target} && python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && "
        ".venv/bin/pytest",
        file=sys.stderr,
    )


def package_of(name: str) -> str:
    """The name of the project's package.

    Raises:
        ConfigurationError: ``name`` cannot be that of a project, or would hide a module that the
            project needs.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"{name!r} is no name of a project: expected a-z, 0-9, - and _, from a letter on"
        )
    package = name.replace("-", "_")
    if keyword.iskeyword(package) or package in sys.stdlib_module_names | {"grctl", "tests"}:
        raise ConfigurationError(
            f"a package {package!r} would hide one that Python or grctl needs: take another name"
        )
    return package


def files(name: str, package: str) -> Iterator[tuple[Path, str]]:
    """The project's files, by their place in it."""
    values = {"name": name, "package": package, "version": __version__}
    for template in sorted(TEMPLATES.rglob(f"*{SUFFIX}")):
        place = template.relative_to(TEMPLATES)
        stem = place.name.removesuffix(SUFFIX)
        folder = Path(*(package if part == "package" else part for part in place.parent.parts))
        text = template.read_text()
        for key, value in values.items():
            text = text.replace("{{" + key + "}}", value)
        yield folder / _HIDDEN.get(stem, stem), text
