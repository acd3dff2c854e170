"""The command line: one small module a command group, mounted in `grctl.cli.main`."""

from __future__ import annotations
