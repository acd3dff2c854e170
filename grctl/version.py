"""The version, for whoever must not import the whole of grctl to tell it."""

from __future__ import annotations

__version__ = "0.1.0"
