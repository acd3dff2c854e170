"""The client: starts workflows, waits for them, speaks to them."""

from __future__ import annotations

from grctl.client.client import Client, WorkflowStart
from grctl.client.connection import Connection
from grctl.client.handle import WorkflowHandle
from grctl.client.waiters import ResultFuture

__all__ = ["Client", "Connection", "ResultFuture", "WorkflowHandle", "WorkflowStart"]
