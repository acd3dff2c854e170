from __future__ import annotations

import importlib
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from grctl.errors import ConfigurationError
from grctl.worker.discovery import are_any_offered, load_workflows

PACKAGE = Path(__file__).parent.parent / "packages" / "shipping"

MODULE = """
from grctl.workflow import Workflow

def made(name):
    workflow = Workflow(name)
    @workflow.start()
    async def begin(ctx):
        return ctx.next.complete(None)
    return workflow
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module of the test's own; gives it the name `flows`."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(text: str, name: str = "flows") -> str:
        (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        return name

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture(scope="module")
def site_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory into which the package in tests/packages is really installed."""
    target = tmp_path_factory.mktemp("installed") / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run(
        [*pip, "--disable-pip-version-check", "--target", target, PACKAGE],
        check=True,
        env={**os.environ, "PIP_ROOT_USER_ACTION": "ignore"},
    )
    return target


@pytest.fixture
def installed(site_packages, tmp_path, monkeypatch, module):
    """Has the package installed; with the given entry points instead of its own."""

    def run(entry_points: str | None = None) -> None:
        site = shutil.copytree(site_packages, tmp_path / "site")
        if entry_points is not None:
            file = site / "shipping-1.2.3.dist-info" / "entry_points.txt"
            file.write_text(f"[grctl.workflows]\n{entry_points}\n")
        monkeypatch.syspath_prepend(site)

    return run


def types(*targets: str) -> list[str]:
    return [workflow.workflow_type for workflow in load_workflows(targets)]


def refusal(*targets: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_workflows(targets)
    return str(caught.value)


def test_a_module_gives_every_workflow_among_its_globals(module):
    module(f"{MODULE}\na = made('a')\nalias = a\nb = made('b')\nhidden = [made('c')]")
    assert types("flows") == ["a", "b"]


@pytest.mark.parametrize(
    "attribute",
    [
        "x = made('x')",
        "x = [made('x')]",
        "x = (made('x'),)",
        "def x(): return made('x')",
        "def x(): return [made('x')]",
    ],
)
def test_an_attribute_is_a_workflow_a_list_or_a_function(module, attribute):
    module(f"{MODULE}\nother = made('other')\n{attribute}")
    assert types("flows:x") == ["x"]


def test_one_workflow_found_twice_counts_once(module):
    module(f"{MODULE}\na = made('a')")
    module("from flows import a", "again")
    assert types("flows", "again", "flows:a") == ["a"]


def test_without_targets_the_entry_points_of_installed_packages_count(installed):
    installed()
    assert are_any_offered()
    assert types() == ["shipping.parcel", "shipping.pallet"]


def test_a_named_module_leaves_entry_points_alone(installed, module):
    installed("shipping = nowhere")
    module(f"{MODULE}\na = made('a')")
    assert types("flows") == ["a"]


def test_an_entry_point_may_name_a_module(installed):
    installed("shipping = shipping")
    assert types() == ["shipping.parcel", "shipping.pallet"]


def test_nothing_named_and_nothing_installed_says_what_to_do():
    assert not are_any_offered()
    assert "no workflows to execute: name a module" in refusal()


@pytest.mark.parametrize(
    ("text", "target", "message"),
    [
        ("", "flows", r"'flows': no Workflow among the globals of the module 'flows' \(/"),
        ("", "flows:x", "'flows:x': the module 'flows' has no attribute 'x'"),
        ("x = 7", "flows:x", "expected a Workflow, a list of them, or a function .* found 7"),
        ("x = []", "flows:x", "found none: it is empty"),
        ("x = [made('x'), 7]", "flows:x", "found a list with 7 in it"),
        ("def x(): return None", "flows:x", "found None"),
        ("async def x(): ...", "flows:x", "found an async function, which is not called"),
        ("def x(): 1 / 0", "flows:x", r"it failed: ZeroDivisionError: .*flows.py:\d+\)"),
        ("import nowhere", "flows", r"its import failed: ModuleNotFoundError: .*'nowhere' \(.*:11"),
        ("1 / 0", "flows", r"'flows': its import failed: ZeroDivisionError: .*flows.py:11\)"),
        ("def", "flows", r"its import failed: SyntaxError: .*flows.py, line 11"),
        ("import sys; sys.exit(3)", "flows", "its import failed: SystemExit: 3"),
        ("x = Workflow('x')", "flows", r"Workflow\('x'\) has no start handler"),
        ("x = made('x'); y = made('x')", "flows", "the workflow type 'x' is here twice"),
        ("", "elsewhere", "there is no module 'elsewhere'"),
        ("", "elsewhere.flows", "there is no module 'elsewhere'"),
        ("", "flows.py", "is a file, and a module's name is expected: try 'flows'"),
        ("", "./a/flows.py:x", "is a file, and a module's name is expected: try 'a.flows'"),
        ("", "flows:", "'flows:' names no workflows: expected MODULE or MODULE:ATTR"),
        ("", ":x", "names no workflows"),
        ("", ".flows", "names no workflows"),
    ],
)
def test_what_cannot_be_loaded_stops_the_start(module, text, target, message):
    module(f"{MODULE}\n{text}")
    with pytest.raises(ConfigurationError, match=message):
        load_workflows([target])


def test_two_workflows_of_one_type_are_refused_with_both_places(module):
    module(f"{MODULE}\na = made('same')")
    module(f"{MODULE}\nb = made('same')", "others")
    assert refusal("flows", "others:b") == (
        "'others:b': the workflow type 'same' is here too, and another one, in 'flows': "
        "a type names one workflow"
    )


@pytest.mark.parametrize(
    ("entry_points", "cause"),
    [
        ("shipping = shipping:missing", "the module 'shipping' has no attribute 'missing'"),
        ("shipping = nowhere:workflows", "there is no module 'nowhere'"),
        ("shipping = shipping:weigh", ".*(TypeError: .*item|found an async function)"),
    ],
)
def test_a_failing_entry_point_names_itself_and_its_distribution(installed, entry_points, cause):
    installed(entry_points)
    value = entry_points.partition(" = ")[2]
    label = rf"entry point 'shipping' \({value}\) of the distribution shipping 1.2.3: "
    with pytest.raises(ConfigurationError, match=label + cause):
        load_workflows()


def test_the_traceback_of_a_failing_import_is_logged_for_debugging(module, caplog):
    caplog.set_level(logging.DEBUG, "grctl.discovery")
    module("1 / 0")
    refusal("flows")
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert "ZeroDivisionError" in caplog.text
