"""An account: a run that lives long and answers. Updates change it, queries read it.

Updates of one run are handled one at a time, in the order they came, so a balance cannot go below
zero however many clients there are. `python -m examples.account`.
"""

from __future__ import annotations

import asyncio
from uuid import uuid4

from examples.session import session
from grctl.worker import Context
from grctl.workflow import Directive, Workflow

account = Workflow("account")


@account.start()
async def open_account(ctx: Context, owner: str) -> Directive:
    ctx.store.put("owner", owner)
    ctx.store.put("balance", 0)
    return ctx.next.wait()


@account.update()
async def deposit(ctx: Context, amount: int) -> tuple[Directive, int]:
    balance = await ctx.store.get("balance", int) + amount
    ctx.store.put("balance", balance)
    return ctx.next.wait(), balance


@account.update()
async def withdraw(ctx: Context, amount: int) -> tuple[Directive, dict[str, object]]:
    balance = await ctx.store.get("balance", int)
    if amount > balance:
        # An answer, not an exception: an uncaught one would end the run.
        return ctx.next.wait(), {"paid": False, "balance": balance}
    ctx.store.put("balance", balance - amount)
    return ctx.next.wait(), {"paid": True, "balance": balance - amount}


@account.query()
async def balance(ctx: Context) -> int:
    found: int = await ctx.store.get("balance", int)
    return found


@account.event()
async def close(ctx: Context) -> Directive:
    return ctx.next.complete(await ctx.store.get("balance", int))


async def main() -> None:
    async with session(account) as client:
        mine = await client.start_workflow(
            "account", f"account-{uuid4().hex[:6]}", {"owner": "ada"}
        )
        print(await mine.update("deposit", {"amount": 100}))
        tries = await asyncio.gather(*(mine.update("withdraw", 40) for _ in range(3)))
        print(sum(each["paid"] for each in tries), "of", len(tries), "were paid")
        print("balance", await mine.query("balance"))
        await mine.send("close")
        print("closed with", await mine.result())


if __name__ == "__main__":
    asyncio.run(main())
