"""Whose processes the server's are: PostgreSQL refuses to run as root.

For root it runs as `postgres`, else `nobody`. No account is added and no directory is opened: what
that account cannot reach is copied to, or made in, a place that it can.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grctl.dev.binaries import Installation
from grctl.errors import ConfigurationError

_ACCOUNTS = ("postgres", "nobody")
_READ_AND_ENTER = 0o5
_ENTER = 0o1


@dataclass(frozen=True, slots=True)
class Account:
    """The server's account, where it is another than ours."""

    name: str
    uid: int
    gid: int

    def reaches(self, directory: Path, *, mode: int = _ENTER) -> bool:
        """Whether the account may enter `directory` (and all above it), with `mode` on it.

        Asked of permission bits alone: an access list can make the answer wrong, never unsafe.
        """
        path = directory.resolve()
        return self._allowed(path, mode) and all(
            self._allowed(parent, _ENTER) for parent in path.parents
        )

    def _allowed(self, path: Path, mode: int) -> bool:
        try:
            found = path.stat()
        except OSError:
            return False
        bits = stat.S_IMODE(found.st_mode)
        if found.st_uid == self.uid:
            bits >>= 6
        elif found.st_gid == self.gid:
            bits >>= 3
        return bits & mode == mode


def server_account() -> Account | None:
    """The account to start the server as; None: our own.

    Raises:
        ConfigurationError: we are root and there is no other account.
    """
    if os.geteuid() != 0:
        return None
    for name in _ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise ConfigurationError(
        "PostgreSQL does not run as root, and there is no account named "
        f"{' or '.join(_ACCOUNTS)} to run it as: add one, or do this as an ordinary user"
    )


def as_account(account: Account | None) -> dict[str, Any]:
    """The arguments of `subprocess` functions that start a program as `account`."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def reachable_installation(
    installation: Installation, account: Account | None, place: Path
) -> Installation:
    """`installation`, or a copy in `place` where `account` cannot reach it (a venv below /root).

    The copy is named by its version, made once, and kept as long as `place`.

    Raises:
        ConfigurationError: it cannot be reached, and is no package that can be copied.
    """
    if account is None or _usable(installation, account):
        return installation
    if installation.root is None:
        raise ConfigurationError(
            f"the account {account.name!r} cannot run {installation.bin}: make that directory and "
            "those above it readable, or do this as an ordinary user"
        )
    target = place / f"postgresql-{installation.version}"
    # Two levels below, as in the package: its programs look for libraries at ../../../.
    root = target / "package" / "pginstall"
    if not target.exists():
        _copy(installation, place / f".new-{target.name}", target)
    return Installation(root / "bin", installation.version, installation.major)


def _usable(installation: Installation, account: Account) -> bool:
    root = installation.root or installation.bin
    parts = [installation.bin, installation.libraries, root]
    return all(account.reaches(part, mode=_READ_AND_ENTER) for part in parts if part is not None)


def _copy(installation: Installation, unfinished: Path, target: Path) -> None:
    assert installation.root is not None
    shutil.rmtree(unfinished, ignore_errors=True)
    copied = unfinished / "package" / "pginstall"
    unneeded = shutil.ignore_patterns("*.a", "pgxs", "pkgconfig", "doc", "man")
    for part in ("bin", "lib", "share"):
        shutil.copytree(installation.root / part, copied / part, ignore=unneeded, symlinks=True)
    if installation.libraries is not None:
        shutil.copytree(
            installation.libraries, unfinished / installation.libraries.name, symlinks=True
        )
    for path in (unfinished, *unfinished.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
    unfinished.rename(target)
