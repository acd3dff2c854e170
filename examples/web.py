"""A web service: one request starts a run, others ask how it is, or tell it something.

The worker may live elsewhere; here it is in the same process for the sake of one command:
`python -m uvicorn examples.web:app`. Needs `pip install fastapi uvicorn`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request

from examples.approval import approval
from examples.session import session
from grctl.client import Client
from grctl.errors import WorkflowAlreadyRunningError, WorkflowError, WorkflowNotFoundError


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with session(approval) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


def the_client(request: Request) -> Client:
    client: Client = request.app.state.client
    return client


Grctl = Annotated[Client, Depends(the_client)]


@app.post("/approvals/{number}", status_code=202)
async def start(number: str, asked: dict[str, Any], client: Grctl) -> dict[str, str]:
    """The id makes it safe to send the request again: there is one open run of it."""
    try:
        handle = await client.start_workflow("approval", f"approval-{number}", asked)
    except WorkflowAlreadyRunningError as error:
        raise HTTPException(409, str(error)) from error
    return {"run": str(handle.run_id)}


@app.get("/approvals/{number}")
async def show(number: str, client: Grctl) -> dict[str, Any]:
    try:
        info = await client.describe(f"approval-{number}")
    except WorkflowNotFoundError as error:
        raise HTTPException(404, str(error)) from error
    return {"status": info.status, "result": info.result}


@app.post("/approvals/{number}/decision")
async def decide(number: str, decision: dict[str, Any], client: Grctl) -> dict[str, Any]:
    """Answers when the decision is in the run's inbox: from then on it cannot be lost."""
    try:
        handle = await client.get_workflow_handle(f"approval-{number}")
        await handle.send("decide", decision)
    except WorkflowNotFoundError as error:
        raise HTTPException(404, str(error)) from error
    except WorkflowError as error:
        raise HTTPException(409, str(error)) from error
    return {"accepted": True}
