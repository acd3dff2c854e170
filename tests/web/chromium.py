"""Which browser the tests and the pictures of the documentation use, and how it is started."""

from __future__ import annotations

import os
import shutil

__all__ = ["ARGUMENTS", "executable"]

ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


def executable() -> str | None:
    """Chromium's path: of the variable CHROMIUM, else on the PATH."""
    return os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
