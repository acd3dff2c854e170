"""What is built, installed and run as users do it."""

from __future__ import annotations

import resource
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.packaging.conftest import REPOSITORY, Environment, run

pytestmark = pytest.mark.slow

TYPED = Path(__file__).parent / "typed_program.py"


def test_the_wheel_has_what_runs_and_nothing_else(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "grctl/py.typed" in names
    assert "grctl/_migrations/alembic.ini" in names
    assert any(name.endswith("0001_tables.sql") for name in names)
    assert any(name.startswith("grctl/cli/project/") for name in names)
    web = {
        str(path.relative_to(REPOSITORY))
        for path in (REPOSITORY / "grctl" / "web").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {"grctl/web/static/app.js", "grctl/web/templates/base.html"} <= web <= set(names)
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"grctl", next(top for top in tops if top.endswith(".dist-info"))}


def test_the_sdist_can_be_tested(distributions: Path) -> None:
    (sdist,) = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "Makefile", "tests/conftest.py", "migrations/env.py"} <= names
    assert not any(name.startswith((".venv", ".git/", "dist/", "site/")) for name in names)


def test_the_installed_command_is_there(environment: Environment) -> None:
    assert environment.run("grctl", "--version").startswith("grctl ")
    assert "worker" in environment.run("python", "-m", "grctl", "--help")


def test_help_is_there_at_once(environment: Environment) -> None:
    """Under 0.3 s of a core, which is what a machine that has nothing else to do takes; on a slow
    one, less than twice what its libraries alone take.
    """
    libraries = ["python", "-c", "import asyncio, typer.main"]
    seconds = [
        (processor_time(environment, *libraries), processor_time(environment, "grctl", "--help"))
        for _ in range(5)
    ]
    bare, own = (min(each) for each in zip(*seconds, strict=True))
    assert own < max(0.3, 2 * bare)


def processor_time(environment: Environment, *command: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment.run(*command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_get_their_completion(environment: Environment, shell: str) -> None:
    assert "_GRCTL_COMPLETE" in environment.run("grctl", "--show-completion", shell)


def test_a_new_project_works_at_once(environment: Environment, tmp_path: Path) -> None:
    environment.run("grctl", "init", "sign-ups", cwd=tmp_path)
    project = tmp_path / "sign-ups"
    # What it needs is installed; from PyPI it would get another grctl than this one.
    environment.run("pip", "install", "--quiet", "--no-deps", "--no-build-isolation", project)
    try:
        assert "2 passed" in environment.run("python", "-m", "pytest", "-q", cwd=project)
        listed = environment.run(
            "python", "-c",
            "from grctl.worker.discovery import load_workflows as load;"
            "print(*[each.workflow_type for each in load()])",
        )  # fmt: skip
        assert listed.split() == ["signup"]
    finally:
        environment.run("pip", "uninstall", "--quiet", "--yes", "sign-ups")


def test_its_code_is_as_its_checkers_want_it(environment: Environment, tmp_path: Path) -> None:
    environment.run("grctl", "init", "sign-ups", cwd=tmp_path)
    project = tmp_path / "sign-ups"
    run(sys.executable, "-m", "ruff", "check", "--isolated", ".", cwd=project)
    run(
        sys.executable,
        "-m",
        "ruff",
        "format",
        "--isolated",
        "--line-length=100",
        "--check",
        ".",
        cwd=project,
    )
    python = environment.bin / "python"
    run(
        sys.executable, "-m", "mypy", "--strict", "--python-executable", python, "sign_ups",
        cwd=project,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Sign Ups", "no name of a project"),
        ("-x-", "No such option|no name of a project"),
        ("asyncio", "would hide"),
        ("class", "would hide"),
        ("grctl", "would hide"),
    ],
)
def test_a_name_that_cannot_be_is_refused(
    environment: Environment, tmp_path: Path, name: str, words: str
) -> None:
    with pytest.raises(AssertionError, match=words):
        environment.run("grctl", "init", name, cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_written_over(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "dear").mkdir()
    (tmp_path / "dear" / "letter").write_text("ada")
    with pytest.raises(AssertionError, match="not empty"):
        environment.run("grctl", "init", "dear", cwd=tmp_path)
    assert [file.name for file in (tmp_path / "dear").iterdir()] == ["letter"]


def test_mypy_sees_the_types_that_are_promised(environment: Environment, tmp_path: Path) -> None:
    run(
        sys.executable, "-m", "mypy", "--strict", "--python-executable",
        environment.bin / "python", TYPED, cwd=tmp_path,
    )  # fmt: skip


def test_pyright_sees_the_types_that_are_promised(environment: Environment, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("# pyright: strict\n" + TYPED.read_text())
    run(
        sys.executable, "-m", "pyright", "--pythonpath", environment.bin / "python", program,
        cwd=tmp_path,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("checker", "complaint"),
    [
        (("mypy", "--strict", "--python-executable"), 'Expression is of type "str", not "int"'),
        (("pyright", "--pythonpath"), 'expected "int" but received "str"'),
    ],
)
def test_a_mistake_is_seen(
    environment: Environment, tmp_path: Path, checker: tuple[str, ...], complaint: str
) -> None:
    program = tmp_path / "program.py"
    wrong = TYPED.read_text().replace("assert_type(charged, str)", "assert_type(charged, int)")
    program.write_text(wrong)
    with pytest.raises(AssertionError, match=complaint):
        run(sys.executable, "-m", *checker, environment.bin / "python", program, cwd=tmp_path)


def test_the_version_is_said_in_one_way() -> None:
    from grctl import __version__

    assert f'version = "{__version__}"' in (REPOSITORY / "pyproject.toml").read_text()
    assert f"## [{__version__}]" in (REPOSITORY / "CHANGELOG.md").read_text() or (
        "## [Unreleased]" in (REPOSITORY / "CHANGELOG.md").read_text()
    )
