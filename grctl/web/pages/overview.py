"""The first page: is all well, and if not, where."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from time import monotonic

from starlette.requests import Request
from starlette.responses import Response

from grctl.models.run import RunStatus
from grctl.postgres.overview import MOST_OPEN, Overview, read_overview
from grctl.web.chart import ORDER, columns_of
from grctl.web.site import Site, site_of

__all__ = ["show"]

WINDOWS = {
    "15m": ("15 minutes", timedelta(minutes=15), 45),
    "1h": ("hour", timedelta(hours=1), 60),
    "24h": ("24 hours", timedelta(hours=24), 72),
}
FRESH_SECONDS = 1.5
"""Many who look at once ask the database once."""


async def show(request: Request) -> Response:
    """The page for one of the windows."""
    site = site_of(request)
    name = request.query_params.get("window", "1h")
    name = name if name in WINDOWS else "1h"
    words, window, _ = WINDOWS[name]
    found = await _read(site, name)
    totals = found.by_status
    ended = sum(n for status, n in totals.items() if RunStatus(status).is_ended)
    bad = sum(totals.get(status, 0) for status in ("failed", "timed_out"))
    up = [row for row in found.workers if row["state"] == "up"]
    return site.page(
        request,
        "overview.html",
        found=found,
        chart=columns_of(found.periods),
        order=[status for status in ORDER if totals.get(status)],
        totals=totals,
        window=name,
        window_words=words,
        windows=WINDOWS,
        started_rate=sum(totals.values()) / window.total_seconds(),
        ended_rate=ended / window.total_seconds(),
        bad=bad,
        bad_share=100 * bad / ended if ended else 0.0,
        open_runs=sum(row["runs"] for row in found.open),
        due_runs=sum(row["due"] for row in found.open),
        most_open=MOST_OPEN,
        late=found.due[0]["late"] if found.due else 0.0,
        up=up,
        load=sum(row["runs"] for row in up),
        room=sum(row["concurrency"] for row in up),
    )


class _Kept:
    """What was read last for each window, and who is reading."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.read: dict[str, tuple[float, Overview]] = {}


async def _read(site: Site, name: str) -> Overview:
    kept: _Kept = site.kept.setdefault("overview", _Kept())
    async with kept.lock:
        at, found = kept.read.get(name, (0.0, None))
        if found is None or monotonic() - at > FRESH_SECONDS:
            _, window, spans = WINDOWS[name]
            found = await read_overview(site.database, window, spans)
            kept.read[name] = (monotonic(), found)
        return found
