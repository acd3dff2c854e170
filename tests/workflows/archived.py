"""A workflow whose values a careless copy would change."""

from __future__ import annotations

from typing import Any

from grctl.worker import Context, task
from grctl.workflow import Directive, Workflow

AWKWARD: dict[str, Any] = {
    "z first": 2**200,
    "a": [-0.0, 1e300, 5e-324, 0.1],
    "": {"nested": [None, True, "\x00nul", "line\nbreak", "\u2028", "\U0001f600", "lone \ud800"]},
    "é": "é",
}

awkward = Workflow("archive.awkward")


@task
async def same(value: Any) -> Any:
    return value


@awkward.start()
async def begin(ctx: Context) -> Directive:
    ctx.store.put("value", AWKWARD)
    ctx.store.put("kéy \n", "\x00")
    return ctx.next.complete(await same(AWKWARD))
