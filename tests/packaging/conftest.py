"""grctl as users get it: built, and installed into an environment with nothing else in it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and commands run by it, far from this repository."""

    home: Path

    @property
    def bin(self) -> Path:
        return self.home / "bin"

    def run(self, program: str, *arguments: str | Path, cwd: Path | None = None) -> str:
        """The output of a program of the environment.

        Raises:
            AssertionError: it failed.
        """
        return run(self.bin / program, *arguments, cwd=cwd or self.home)


def run(program: str | Path, *arguments: str | Path, cwd: Path) -> str:
    # Neither this process's PYTHONPATH nor its settings: a user has none of them.
    environ = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GRCTL_", "PYTHON", "VIRTUAL_ENV"))
    }
    done = subprocess.run(
        [program, *arguments],
        cwd=cwd,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{program} {arguments} failed:\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the wheel, built from the sdist, and the sdist."""
    made = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", made, REPOSITORY, cwd=made)
    return made


@pytest.fixture(scope="session")
def environment(distributions: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel with its extra for development, and what a project's tests need."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", home, cwd=home.parent)
    made = Environment(home)
    (wheel,) = distributions.glob("*.whl")
    made.run("pip", "install", "--quiet", f"{wheel}[dev]", "pytest", "pytest-asyncio", "hatchling")
    return made
