"""What people read: durations, one-line text, tables. Nothing heavy is imported for it."""

from __future__ import annotations

from collections.abc import Sequence

from grctl.cli.printable import printable
from grctl.cli.session import print_text

__all__ = ["duration", "print_table", "printable"]


def duration(milliseconds: int) -> str:
    """A duration as people say it: ``12 ms``, ``1.25 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    seconds = milliseconds / 1000
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Rows in columns on stdout; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print_text("  ".join(cells).rstrip())
