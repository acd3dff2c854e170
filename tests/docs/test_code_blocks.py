"""What the documentation says is tried: code is run, commands exist, generated parts are current.

The convention for a page: all its ``python`` blocks together are one module, in order. A block in a
comment, ``<!-- python … -->``, belongs to it and is not shown. With the module's workflows served
by a worker, each of its functions ``async def name(client: Client)`` is run, in order. Of
``console`` blocks, every ``grctl`` command is read by the real command line, and not executed.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main

from grctl import errors
from grctl.cli.main import app
from grctl.client import Client, Connection
from grctl.settings import Settings, variable_of
from grctl.worker import Worker
from grctl.workflow import Workflow
from tests.support.processes import REPOSITORY

PAGES = [
    REPOSITORY / "README.md",
    REPOSITORY / "ARCHITECTURE.md",
    *sorted((REPOSITORY / "docs").rglob("*.md")),
]
_BEGIN = re.compile(r"^(```python|<!-- python)$")
_END = re.compile(r"^(```|-->)$")


def name_of(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def code_of(page: Path) -> str:
    """The page's module; its lines have the numbers that they have in the page."""
    lines, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if _BEGIN.match(line):
            assert not inside
            inside = True
            lines.append("")
        elif inside and _END.match(line):
            inside = False
            lines.append("")
        else:
            lines.append(line if inside else "")
    assert not inside
    return "\n".join(lines).rstrip() + "\n"


def commands_of(page: Path) -> Iterator[list[str]]:
    """The words of each grctl command in the page's console blocks."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```console\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        for given in re.findall(r"^\$ (.*(?:\\\n.*)*)$", block, re.MULTILINE):
            flat = re.sub(r"\$\((.*?)\)", r"; \1 ;", given.replace("\\\n", " "))
            lexer = shlex.shlex(flat, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            words: list[str] = []
            for word in [*lexer, ";"]:
                if set(word) <= set("|&;<>"):
                    if words and words[0] == "grctl":
                        yield words[1:]
                    words = []
                elif words or not re.match(r"^[A-Za-z_]+=", word):
                    words.append(word)


WITH_CODE = [page for page in PAGES if code_of(page).strip()]
WITH_COMMANDS = [page for page in PAGES if any(commands_of(page))]


@pytest.fixture
def module(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ModuleType]:
    """The page's module, imported."""
    page: Path = request.param
    path = tmp_path / "page.py"
    path.write_text("from __future__ import annotations; " + code_of(page), encoding="utf-8")
    name = f"page_{re.sub(r'[^a-z]', '_', page.stem.lower())}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    yield made
    del sys.modules[name]


@pytest.mark.parametrize("module", WITH_CODE, ids=name_of, indirect=True)
async def test_the_code_of_a_page_runs(module: ModuleType, settings: Settings):
    workflows = [each for each in vars(module).values() if isinstance(each, Workflow)]
    stories = [each for each in vars(module).values() if is_story(each, module)]
    assert stories or not workflows, "nobody runs the workflows of this page"
    if not stories:
        return
    async with await Connection.connect(settings=settings) as connection:
        worker = Worker(workflows, connection, codec=getattr(module, "codec", None))
        working = asyncio.create_task(worker.start())
        ready = asyncio.create_task(worker.wait_until_ready())
        await asyncio.wait({working, ready}, return_when=asyncio.FIRST_COMPLETED)
        try:
            for story in stories:
                async with asyncio.timeout(30):
                    await story(Client(connection))
        finally:
            ready.cancel()
            await worker.stop(shutdown_timeout=0)
            await working


def is_story(found: object, module: ModuleType) -> bool:
    """Whether it is a function of this page that takes a client, and nothing else."""
    if not inspect.iscoroutinefunction(found) or found.__module__ != module.__name__:
        return False
    return list(inspect.signature(found).parameters) == ["client"]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_the_commands_of_a_page_exist(page: Path):
    for words in commands_of(page):
        try:
            _read(words)
        except typer.Exit:
            pass  # --help
        except typer.BadParameter.__base__ as error:  # UsageError, of whichever click it is
            pytest.fail(f"grctl {shlex.join(words)}: {error}")


def _read(words: list[str]) -> None:
    """As the command line would read it, without doing it."""
    command: Any = typer.main.get_command(app)
    context, rest = None, list(words)
    while hasattr(command, "commands"):
        if rest and rest[0].startswith("--"):  # of grctl itself; they would act at once
            assert any(rest[0] in each.opts for each in command.params), rest
            return
        context = command.context_class(command, parent=context, info_name="grctl")
        _, command, rest = command.resolve_command(context, rest)
    command.make_context("grctl", rest, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_links_of_a_page_lead_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_generated_parts_are_up_to_date():
    spec = importlib.util.spec_from_file_location("generate", REPOSITORY / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    stale = [
        name_of(page)
        for page in generate.pages()
        if generate.generated(text := page.read_text(encoding="utf-8")) != text
    ]
    assert not stale, "run `python docs/generate.py`"


def test_every_setting_is_documented():
    text = (REPOSITORY / "docs" / "worker.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(GRCTL_\w+)`", text, re.MULTILINE))
    assert documented == {variable_of(name) for name in Settings.model_fields}


def test_every_error_is_documented():
    text = (REPOSITORY / "docs" / "errors.md").read_text(encoding="utf-8")
    assert [name for name in errors.__all__ if f"`{name}`" not in text] == []


def test_every_command_is_in_the_changelog():
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    command: Any = typer.main.get_command(app)
    assert [name for name in command.commands if not re.search(rf"`(grctl )?{name}\b", text)] == []
