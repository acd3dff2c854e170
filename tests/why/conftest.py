"""Real workers and the ledger of the feature tests; and why a run stands where it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from grctl.client import Client
from grctl.models.why import Explanation, Reason, ReasonKind
from grctl.postgres.why import explain
from tests.features.conftest import book, client, connection, launch, serve
from tests.support import wait_until

SLACK = timedelta(seconds=1)
"""A look sees what was committed until its first statement, and is as of just before that."""

__all__ = ["SLACK", "book", "client", "connection", "launch", "serve"]

Why = Callable[..., Awaitable[tuple[Explanation, Reason]]]


@pytest.fixture
def why(client: Client) -> Why:
    """``await why(id, kind)``: once the main reason is of this kind, it, and all that is told.

    With ``anywhere``, any of the reasons may be it; with ``ask``, its worker is asked.
    """

    async def wait(
        wf_id: str, kind: ReasonKind, *, anywhere: bool = False, ask: bool = False
    ) -> tuple[Explanation, Reason]:
        seen: list[object] = []

        async def told() -> tuple[Explanation, Reason] | None:
            explanation = await explain(client.database, wf_id, ask=ask)
            assert explanation is not None
            seen[:] = [explanation]
            reasons = explanation.reasons if anywhere else explanation.reasons[:1]
            return next(((explanation, r) for r in reasons if r.kind is kind), None)

        try:
            return await wait_until(told, f"the reason for {wf_id} is {kind}", timeout=30)
        except AssertionError as error:
            raise AssertionError(f"{error}; told was {seen}") from None

    return wait
