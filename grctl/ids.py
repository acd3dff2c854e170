"""Run ids: UUIDs of version 7 (RFC 9562), ordered by the time at which they were made.

Made by whoever starts a run, so that a start may be sent again after a lost connection.
"""

from __future__ import annotations

import os
import threading
import time
from datetime import datetime, timedelta
from uuid import UUID

__all__ = ["first_run_id", "new_run_id"]

_lock = threading.Lock()
_last = 0


def new_run_id() -> UUID:
    """A new id, later in order than every other this process has made."""
    global _last  # noqa: PLW0603 - the order within a process is the point
    stamp = (time.time_ns() // 1_000_000) << 12
    with _lock:
        _last = stamp = max(stamp, _last + 1)
    random_bits = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
    milliseconds, sequence = stamp >> 12, stamp & 0xFFF
    return UUID(int=milliseconds << 80 | 0x7 << 76 | sequence << 64 | 0b10 << 62 | random_bits)


_MOST_MILLISECONDS = (1 << 48) - 1


def first_run_id(moment: datetime, slack: timedelta = timedelta()) -> UUID:
    """The least id that a run made at that moment could have: it bounds a scan of the key.

    ``slack`` is added to the moment, also where the calendar ends.
    """
    milliseconds = int((moment.timestamp() + slack.total_seconds()) * 1000)
    return UUID(int=min(max(0, milliseconds), _MOST_MILLISECONDS) << 80)
