"""Everything that speaks SQL."""

from __future__ import annotations
