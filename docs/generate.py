"""Writes the parts of the documentation that are made from the code: `python docs/generate.py`.

In a page, such a part stands between `<!-- generated: NAME -->` and `<!-- end of NAME -->`. A test
checks that every page is as this would write it.
"""
# ruff: noqa: INP001 - a script beside the pages, not a package

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

ROOT = Path(__file__).parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from grctl.cli.main import app  # noqa: E402 - found by the path above
from grctl.engine.transitions import NEXT, WAKE_ORDER  # noqa: E402
from grctl.models.run import RunStatus  # noqa: E402
from grctl.settings import Settings, variable_of  # noqa: E402

_PART = re.compile(
    r"(<!-- generated: (?P<name>\w+) -->\n).*?(<!-- end of (?P=name) -->)", re.DOTALL
)


def settings_table() -> str:
    """Every variable, its default and its meaning."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        lines.append(f"| `{variable_of(name)}` | {default} | {_cell(field.description or '')} |")
    return "\n".join(lines)


def command_table() -> str:
    """Every command and the first line of its help."""
    lines = ["| command | what it does |", "|---|---|"]
    for path, command in commands():
        words = " ".join([*path, *_arguments(command)])
        lines.append(f"| `{_cell(words)}` | {_cell(command.get_short_help_str(200))} |")
    return "\n".join(lines)


def option_lists() -> str:
    """Every command with its options."""
    parts = []
    for path, command in commands():
        lines = [f"### `{' '.join(path)}`", "", (command.help or "").strip(), ""]
        lines += ["| option | meaning |", "|---|---|"]
        for parameter in command.params:
            record = parameter.get_help_record(command.context_class(command))
            if record is not None:
                lines.append(f"| `{_cell(record[0])}` | {_cell(record[1])} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


# Typer brings a click of its own, or uses the one that is installed: its classes are not named.


def commands() -> Iterator[tuple[list[str], Any]]:
    """Every command of the tree that is not a group, with its words."""
    yield from _below(["grctl"], typer.main.get_command(app))


def _below(path: list[str], command: Any) -> Iterator[tuple[list[str], Any]]:
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, each in sorted(command.commands.items()):
        yield from _below([*path, name], each)


def state_table() -> str:
    """What each cause makes of a run in each status."""
    statuses = [status for status in RunStatus if NEXT[status]]
    lines = [
        f"| cause | {' | '.join(statuses)} |",
        f"|---|{'---|' * len(statuses)}",
    ]
    causes = dict.fromkeys(cause for status in statuses for cause in NEXT[status])
    for cause in causes:
        cells = [str(NEXT[status].get(cause, "—")) for status in statuses]
        lines.append(f"| {cause} | {' | '.join(cells)} |")
    return "\n".join(lines)


def state_diagram() -> str:
    """The same as a diagram: an arrow for each pair of statuses, with all its causes."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for status, causes in NEXT.items():
        for cause, after in causes.items():
            if after is not status:
                arrows.setdefault((str(status), str(after)), []).append(str(cause))
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> scheduled: start"]
    lines += [f"    {a} --> {b}: {' / '.join(causes)}" for (a, b), causes in arrows.items()]
    lines += [f"    {status} --> [*]" for status in RunStatus if status.is_ended]
    return "\n".join([*lines, "```"])


def wake_table() -> str:
    """Why a claimed run is executed: the first that holds."""
    lines = ["| | cause | when |", "|---|---|---|"]
    lines += [f"| {n} | `{wake}` | {when} |" for n, (wake, when) in enumerate(WAKE_ORDER, 1)]
    return "\n".join(lines)


PARTS = {
    "settings": settings_table,
    "commands": command_table,
    "options": option_lists,
    "states": state_table,
    "diagram": state_diagram,
    "wakes": wake_table,
}


def pages() -> list[Path]:
    """Every page of the documentation."""
    return [
        *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CHANGELOG.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
    ]


def generated(text: str) -> str:
    """A page's text, with its generated parts as they should be."""
    return _PART.sub(lambda part: f"{part[1]}{PARTS[part['name']]()}\n{part[3]}", text)


def _arguments(command: Any) -> list[str]:
    return [
        parameter.metavar or parameter.name.upper()
        for parameter in command.params
        if parameter.param_type_name == "argument"
    ]


def _cell(text: str) -> str:
    # A wrapped help text becomes one line; a bar would begin another cell.
    return " ".join(text.split()).replace("|", "\\|")


def main() -> None:
    """Rewrite the pages that are not as they should be."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (new := generated(text)) != text:
            page.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
