"""What the demo shows: sections, a progress line and checks; colours on a terminal only."""

from __future__ import annotations

import os
import sys
import time

GREEN, RED, DIM, BOLD = "32", "31", "2", "1"


class Screen:
    """Standard output."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self.color = self._is_terminal and not os.environ.get("NO_COLOR")
        self._began = time.monotonic()
        self._in_progress = False

    def title(self, text: str) -> None:
        """The heading of a section."""
        self._line("")
        self._line(self._painted(text, BOLD))

    def step(self, text: str) -> None:
        """Something was done; with the seconds since the beginning."""
        at = self._painted(f"{time.monotonic() - self._began:5.1f} s", DIM)
        self._line(f"{at}  {text}")

    def progress(self, text: str) -> None:
        """The line that is written over and over; nothing where it cannot be."""
        if self._is_terminal:
            self._in_progress = True
            print(f"\r\x1b[K         {self._painted(text, DIM)}", end="", flush=True)

    def check(self, text: str, *, holds: bool) -> None:
        """A check and how it came out."""
        sign = self._painted("✓", GREEN) if holds else self._painted("✗", RED)
        self._line(f"{sign} {text}")

    def text(self, text: str) -> None:
        """Anything else."""
        self._line(text)

    def error(self, text: str) -> None:
        """Why the demo ends before its end."""
        self._line("")
        print(text, file=sys.stderr)

    def _line(self, text: str) -> None:
        if self._in_progress:
            self._in_progress = False
            print("\r\x1b[K", end="")
        print(text, flush=True)

    def _painted(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.color else text
