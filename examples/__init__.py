"""Programs that show how grctl is used. Not part of the package."""

from __future__ import annotations
