"""One module a page, or a few that belong together."""

from __future__ import annotations
