"""A workflow that fails until the test lets it through."""

from __future__ import annotations

from grctl.worker import Context
from grctl.workflow import Directive, Workflow
from tests.workflows.features import book, note

flaky = Workflow("acting.flaky")


@flaky.start()
async def begin(ctx: Context) -> Directive:
    await note("done once", ctx.run.wf_id)
    if not book().is_open(ctx.run.wf_id):
        raise ValueError("not yet")
    return ctx.next.complete("done")


ALL = [flaky]
