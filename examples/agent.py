"""An agent: a model decides, tools act, until the model has an answer.

Every model call and every tool call is a task, so after a crash none that ended is made (and paid
for) again. One turn is one step: recovery replays the last turn, however long the talk is. The
model here is a local stand-in. `python -m examples.agent`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from examples.session import session
from grctl.models import RetryPolicy
from grctl.worker import Context, task
from grctl.workflow import Directive, Workflow

agent = Workflow("agent")

MOST_TURNS = 10


@dataclass
class ToolCall:
    tool: str
    arguments: dict[str, Any]


@dataclass
class Reply:
    """What the model says: either tools to call, or the answer."""

    calls: list[ToolCall] = field(default_factory=list)
    answer: str | None = None


@task(retry_policy=RetryPolicy(max_attempts=5, retryable_errors=["ConnectionError"]))
async def ask_model(talk: list[str]) -> Reply:
    """A call of your model's API would stand here."""
    if not any(line.startswith("tool:") for line in talk):
        cities = ["Oslo", "Rome"]
        return Reply([ToolCall("weather", {"city": city}) for city in cities])
    seen = [line.removeprefix("tool: ") for line in talk if line.startswith("tool:")]
    return Reply(answer="; ".join(seen))


@task
async def weather(city: str) -> str:
    return f"{city} has {len(city) * 5} degrees"


TOOLS = {"weather": weather}


@agent.start()
async def begin(ctx: Context, question: str) -> Directive:
    ctx.store.put("talk", [f"user: {question}"])
    ctx.store.put("turns", 0)
    return ctx.next.step(turn)


@agent.step()
async def turn(ctx: Context) -> Directive:
    talk = await ctx.store.get("talk", list[str])
    turns = await ctx.store.get("turns", int)
    reply = await ask_model(talk)
    if reply.answer is not None or turns == MOST_TURNS:
        return ctx.next.complete(reply.answer)
    results = await asyncio.gather(*(TOOLS[call.tool](**call.arguments) for call in reply.calls))
    ctx.store.put("talk", [*talk, *(f"tool: {result}" for result in results)])
    ctx.store.put("turns", turns + 1)
    return ctx.next.step(turn)


async def main() -> None:
    async with session(agent) as client:
        question = {"question": "Where is it warmer, in Oslo or in Rome?"}
        print(await client.run_workflow("agent", f"talk-{uuid4().hex[:6]}", question))


if __name__ == "__main__":
    asyncio.run(main())
