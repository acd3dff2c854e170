"""Finding workflows: what `grctl worker` is told to load, or what installed packages offer.

All or nothing: whatever cannot be loaded stops the start. A worker that quietly left a workflow
out would leave its runs waiting.
"""

from __future__ import annotations

import importlib
import inspect
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from grctl.errors import ConfigurationError
from grctl.log import get_logger
from grctl.workflow.workflow import Workflow

__all__ = ["GROUP", "are_any_offered", "load_workflows"]

GROUP = "grctl.workflows"
"""The group of entry points by which an installed package offers its workflows."""

EXPECTED = "expected a Workflow, a list of them, or a function that returns either"

log = get_logger("grctl.discovery")


@dataclass(frozen=True, slots=True)
class _Source:
    """Where workflows are looked for: a module, or what an attribute of it gives."""

    label: str
    module: str
    attribute: str | None

    def wrong(self, cause: str, error: BaseException | None = None) -> ConfigurationError:
        """The error that stops the start; the traceback of `error` is for debugging."""
        if error is not None:
            log.debug("workflows not loaded", source=self.label, exc_info=error)
        return ConfigurationError(f"{self.label}: {cause}")


def load_workflows(targets: Sequence[str] = ()) -> list[Workflow]:
    """The workflows that ``targets`` name, or those of all entry points if there are none.

    A target is ``MODULE`` (every Workflow that is a global of the module) or ``MODULE:ATTR``,
    where ATTR is a Workflow, a list or tuple of them, or a function that returns either. An entry
    point of the group ``grctl.workflows`` says the same. One workflow found twice counts once.

    ConfigurationError names the target (or entry point and distribution) and the cause: a failing
    import, a missing attribute, nothing found, something else found, a workflow without a start
    handler, two workflows of one type.
    """
    sources = [_target(text) for text in targets] or [_offered(each) for each in _entry_points()]
    if not sources:
        raise ConfigurationError(
            "no workflows to execute: name a module, e.g. `grctl worker shop.orders`, or install "
            f"a package that has an entry point in the group {GROUP!r}"
        )
    found: dict[str, tuple[Workflow, _Source]] = {}
    for source in sources:
        for workflow in _workflows_of(source):
            _add(found, workflow, source)
    return [workflow for workflow, _ in found.values()]


def are_any_offered() -> bool:
    """Whether any installed package has an entry point in the group."""
    return bool(_entry_points())


def _add(found: dict[str, tuple[Workflow, _Source]], workflow: Workflow, source: _Source) -> None:
    try:
        workflow.validate()
    except ValueError as error:
        raise source.wrong(str(error)) from error
    known, first = found.setdefault(workflow.workflow_type, (workflow, source))
    if known is not workflow:
        where = "twice" if first == source else f"too, and another one, in {first.label}"
        raise source.wrong(
            f"the workflow type {workflow.workflow_type!r} is here {where}: a type names one "
            "workflow"
        )


def _target(text: str) -> _Source:
    module, separator, attribute = text.partition(":")
    if "/" in module or module.endswith(".py"):
        as_module = module.removesuffix(".py").strip("./").replace("/", ".")
        raise ConfigurationError(
            f"{text!r} is a file, and a module's name is expected: try {as_module!r}"
        )
    if not module or (separator and not attribute) or module.startswith("."):
        raise ConfigurationError(f"{text!r} names no workflows: expected MODULE or MODULE:ATTR")
    return _Source(repr(text), module, attribute or None)


def _entry_points() -> list[EntryPoint]:
    # In an order of their own, so that errors do not depend on that of sys.path.
    return sorted(entry_points(group=GROUP), key=lambda each: (each.name, each.value))


def _offered(point: EntryPoint) -> _Source:
    distribution = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown"
    label = f"entry point {point.name!r} ({point.value}) of the distribution {distribution}"
    try:
        return _Source(label, point.module, point.attr or None)
    except AttributeError:
        raise ConfigurationError(f"{label}: expected MODULE or MODULE:ATTR") from None


def _workflows_of(source: _Source) -> Iterable[Workflow]:
    module = _imported(source)
    if source.attribute is None:
        found = list(_globals_of(module))
        if not found:
            raise source.wrong(
                f"no Workflow among the globals of the module {source.module!r} "
                f"({getattr(module, '__file__', None) or 'no file'})"
            )
        return found
    value = _attribute(source, module, source.attribute)
    if callable(value) and not isinstance(value, Workflow):
        value = _called(source, value)
    if isinstance(value, Workflow):
        return [value]
    if not isinstance(value, list | tuple):
        raise source.wrong(f"{EXPECTED}; found {value!r:.100}")
    if not value:
        raise source.wrong(f"{EXPECTED}; found none: it is empty")
    for item in value:
        if not isinstance(item, Workflow):
            raise source.wrong(f"{EXPECTED}; found a list with {item!r:.100} in it")
    return value


def _imported(source: _Source) -> ModuleType:
    try:
        return importlib.import_module(source.module)
    except ModuleNotFoundError as error:
        # The module itself, or a package above it; not something that it imports.
        missing = error.name or ""
        if source.module == missing or source.module.startswith(f"{missing}."):
            raise source.wrong(
                f"there is no module {missing!r}: is it installed, or the working directory the "
                "one that it lies in?",
                error,
            ) from error
        raise source.wrong(f"its import failed: {_described(error)}", error) from error
    except (Exception, SystemExit) as error:
        raise source.wrong(f"its import failed: {_described(error)}", error) from error


def _globals_of(module: ModuleType) -> Iterator[Workflow]:
    seen = set()
    for value in list(vars(module).values()):
        if isinstance(value, Workflow) and id(value) not in seen:
            seen.add(id(value))
            yield value


def _attribute(source: _Source, module: ModuleType, attribute: str) -> object:
    value: object = module
    for name in attribute.split("."):
        try:
            value = getattr(value, name)
        except AttributeError as error:
            raise source.wrong(
                f"the module {source.module!r} has no attribute {attribute!r}", error
            ) from error
    return value


def _called(source: _Source, function: object) -> object:
    assert callable(function)
    if inspect.iscoroutinefunction(function):
        raise source.wrong(f"{EXPECTED}; found an async function, which is not called")
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise source.wrong(f"it failed: {_described(error)}", error) from error


def _described(error: BaseException) -> str:
    """The error, and the line of the user's code that it came from."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return text  # its message has the place
    ours = (__file__, importlib.__file__)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen ") and frame.filename not in ours
    ]
    return f"{text} ({frames[-1].filename}:{frames[-1].lineno})" if frames else text
