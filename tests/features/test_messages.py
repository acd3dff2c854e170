"""ctx.send and ctx.send_to_parent: in one transaction with their record, and done once."""

from __future__ import annotations

import asyncio
from typing import Any

from grctl.client import Client
from grctl.models import Directive
from grctl.models.errors import WorkflowError
from grctl.worker import Context
from grctl.workflow import Workflow
from tests.features.looking import count, has_status
from tests.support import Database, wait_until
from tests.support.ledger import Ledger
from tests.workflows import features

speaker = Workflow("messages.speaker")


@speaker.start()
async def speak(ctx: Context, to: str, name: str = "put", items: int = 1) -> Directive:
    try:
        for number in range(items):
            await ctx.send(to, name, {"item": f"{ctx.run.wf_id}:{number}"})
    except WorkflowError as error:
        return ctx.next.complete(str(error))
    return ctx.next.complete("sent")


echo = Workflow("messages.echo")


@echo.start()
async def speak_to_itself(ctx: Context) -> Directive:
    await asyncio.gather(*(ctx.send(ctx.run.wf_id, "hear", number) for number in range(3)))
    ctx.store.put("heard", [])
    return ctx.next.wait()


@echo.event()
async def hear(ctx: Context, number: int) -> Directive:
    heard = [*await ctx.store.get("heard"), number]
    ctx.store.put("heard", heard)
    return ctx.next.complete(heard) if len(heard) == 3 else ctx.next.wait()


async def test_a_run_sends_to_another_in_order(client: Client, serve: Any) -> None:
    await serve(*features.ALL, speaker)
    box = await client.start_workflow("features.box", "box")
    assert await client.run_workflow("messages.speaker", "s", {"to": "box", "items": 5}) == "sent"
    await box.send("finish")

    assert await box.result(timeout=10) == [f"s:{n}" for n in range(5)]


async def test_what_many_runs_send_to_one_arrives_whole(
    database: Database, client: Client, serve: Any
) -> None:
    await serve(*features.ALL, speaker)
    await serve(*features.ALL, speaker)
    box = await client.start_workflow("features.box", "box")
    said = await asyncio.gather(
        *(
            client.run_workflow("messages.speaker", f"s{n}", {"to": "box", "items": 3})
            for n in range(40)
        )
    )
    await box.send("finish")

    assert said == ["sent"] * 40
    assert sorted(await box.result(timeout=20)) == sorted(
        f"s{s}:{n}" for s in range(40) for n in range(3)
    )
    assert await count(database, "events", "kind = 'message.sent'") == 120


async def test_a_run_may_send_to_itself(client: Client, serve: Any) -> None:
    await serve(echo)

    assert await asyncio.wait_for(client.run_workflow("messages.echo", "e"), 10) == [0, 1, 2]


async def test_a_message_that_cannot_be_delivered_raises_in_the_step(
    client: Client, serve: Any
) -> None:
    await serve(*features.ALL, speaker)
    box = await client.start_workflow("features.box", "box")

    said = await client.run_workflow("messages.speaker", "a", {"to": "box", "name": "nonsense"})
    assert said == "workflow 'box' handles no event 'nonsense'"
    await box.send("finish")
    await box.result(timeout=10)
    for to in ("box", "nobody"):
        said = await client.run_workflow("messages.speaker", f"to {to}", {"to": to})
        assert said == f"workflow '{to}' has no open run: it takes no events"


async def test_a_delivered_and_a_refused_message_of_one_batch_are_told_apart(
    client: Client, serve: Any
) -> None:
    await serve(*features.ALL, speaker)
    box = await client.start_workflow("features.box", "box")
    names = ["put", "nonsense"] * 20
    said = await asyncio.gather(
        *(
            client.run_workflow("messages.speaker", f"s{n}", {"to": "box", "name": name})
            for n, name in enumerate(names)
        )
    )
    await box.send("finish")

    assert [each == "sent" for each in said] == [name == "put" for name in names]
    assert len(await box.result(timeout=10)) == 20


async def test_after_a_crash_a_message_is_not_sent_again(
    database: Database, client: Client, launch: Any, book: Ledger
) -> None:
    first = await launch()
    box = await client.start_workflow("features.box", "box")
    await client.start_workflow("features.teller", "t", {"to": "box"})
    await wait_until(lambda: book.count("at gate", key="told"), "the message is sent")
    first.kill()
    await first.wait()
    book.open_gate("told")
    await launch()
    await has_status(database, "t", "completed")
    await box.send("finish")

    assert await box.result(timeout=20) == ["told"]
