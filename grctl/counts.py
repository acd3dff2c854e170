"""Numbers of things in words."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 run``, ``2 runs``, ``0 runs``; ``many`` where it is not ``one`` and an s."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"
