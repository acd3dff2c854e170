"""A PostgreSQL of one's own for `grctl dev`, the demo and the tests. Not for production."""

from __future__ import annotations

from grctl.dev.embedded import EmbeddedPostgres, default_home

__all__ = ["EmbeddedPostgres", "default_home"]
