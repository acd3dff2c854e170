"""Two workflows, given by a function, as an installed package would."""

from __future__ import annotations

from grctl.worker import Context, task
from grctl.workflow import Directive, Workflow

parcel = Workflow("shipping.parcel")
pallet = Workflow("shipping.pallet")


@task
async def weigh(item: str) -> int:
    return len(item)


@parcel.start()
async def send_parcel(ctx: Context, item: str) -> Directive:
    return ctx.next.complete(await weigh(item))


@pallet.start()
async def send_pallet(ctx: Context) -> Directive:
    return ctx.next.complete(None)


def workflows() -> list[Workflow]:
    return [parcel, pallet]
