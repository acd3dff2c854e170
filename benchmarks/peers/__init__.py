"""The peers' own environments: made once, kept in a cache, so that ours stays clean of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
SERVER_PACKAGE = "@restatedev/restate-server@1.7.12"
"""A version that was tried; the server's settings in restate.toml are of it."""


class NotInstalledError(Exception):
    """A peer cannot be had here; the message says why."""


@dataclass(frozen=True)
class Environment:
    """Where a peer's Python is, and what it needs besides."""

    python: Path
    binary: Path | None = None


def cache() -> Path:
    """Where the environments are: GRCTL_BENCH_CACHE, or below the user's cache directory."""
    told = os.environ.get("GRCTL_BENCH_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(told) if told else Path(base) / "grctl-bench"


def environment(peer: str) -> Environment:
    """The environment of `dbos`, `absurd` or `restate`; installed if it is not there.

    Raises:
        NotInstalledError: pip or npm failed, or there is no npm.
    """
    requirements = HERE / f"{peer}.txt"
    wanted = f"{sys.version}\n{requirements.read_text()}\n{SERVER_PACKAGE}"
    home = cache() / f"{peer}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    python = home / "bin" / "python"
    complete = home / "complete"
    if not complete.exists():
        shutil.rmtree(home, ignore_errors=True)
        home.parent.mkdir(parents=True, exist_ok=True)
        _run(sys.executable, "-m", "venv", str(home))
        _run(str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements))
        if peer == "restate":
            _install_server(home)
        complete.touch()
    binary = next(home.glob("node_modules/@restatedev/restate-server-*/bin/restate-server"), None)
    return Environment(python, binary)


def _install_server(home: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise NotInstalledError("npm is not here, and the Restate server comes from there")
    # Without scripts: the one there is reports the installation to a third party.
    _run(npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(home),
         SERVER_PACKAGE)  # fmt: skip


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-3:]
        raise NotInstalledError(f"{' '.join(command[:4])} …: {' / '.join(last)[:300]}")
