"""The tables as SQLAlchemy Core sees them, for reads whose filters are built.

Columns and indexes are those that the migrations make; a test compares the two. No statement that
changes anything is built from them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import TypeEngine

__all__ = ["metadata_for", "runs_table", "workers_table"]

_Type = TypeEngine[Any] | type[TypeEngine[Any]]
_TIME = DateTime(timezone=True)
_TEXTS = ARRAY(Text)


def _required(name: str, kind: _Type) -> Column[Any]:
    return Column(name, kind, nullable=False)


def _key(name: str, kind: _Type) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


@cache
def metadata_for(schema: str) -> MetaData:
    """All tables of grctl, in ``schema``."""
    metadata = MetaData(schema=schema)
    _define_runs(metadata)
    _define_history(metadata)
    _define_workers(metadata)
    _define_questions(metadata)
    _define_audit(metadata)
    return metadata


def runs_table(schema: str) -> Table:
    """The table of runs."""
    return metadata_for(schema).tables[f"{schema}.runs"]


def workers_table(schema: str) -> Table:
    """The table of workers."""
    return metadata_for(schema).tables[f"{schema}.workers"]


def _define_runs(metadata: MetaData) -> None:
    runs = Table(
        "runs",
        metadata,
        _key("run_id", Uuid),
        _required("wf_id", Text),
        _required("wf_type", Text),
        _required("status", Text),
        Column("owner", BigInteger),
        _required("epoch", Integer),
        Column("claimed_at", _TIME),
        Column("wake_at", _TIME),
        Column("cause", Text),
        _required("step_no", Integer),
        Column("step_name", Text),
        _required("step_attempt", Integer),
        _required("step_seq", Integer),
        _required("next_seq", Integer),
        _required("crashes", Integer),
        Column("wait_until", _TIME),
        Column("wait_step", Text),
        _required("inbox_head", Integer),
        _required("inbox_tail", Integer),
        _required("created_at", _TIME),
        Column("started_at", _TIME),
        Column("deadline_at", _TIME),
        Column("ended_at", _TIME),
        Column("cancel_requested_at", _TIME),
        Column("cancel_reason", Text),
        Column("parent_run_id", Uuid),
        Column("parent_step", Text),
        Column("parent_close_policy", Text),
        Column("input", JSON),
        Column("result", JSON),
        Column("error", JSON),
        Column("trace", Text),
    )
    c = runs.c
    Index("runs_open", c.wf_id, unique=True, postgresql_where=text("ended_at is null"))
    Index("runs_wf_id", c.wf_id, c.run_id)
    Index("runs_due", c.wf_type, c.wake_at, postgresql_where=text("wake_at is not null"))
    Index("runs_owner", c.owner, postgresql_where=text("owner is not null"))
    Index("runs_parent", c.parent_run_id, postgresql_where=text("parent_run_id is not null"))
    Index(
        "runs_failed",
        c.run_id,
        postgresql_where=text("error is not null or status = 'timed_out'::text"),
    )


def _define_history(metadata: MetaData) -> None:
    Table(
        "events",
        metadata,
        _key("run_id", Uuid),
        _key("seq", Integer),
        _required("step_no", Integer),
        _required("step_attempt", Integer),
        _required("kind", Text),
        Column("op", Text),
        Column("name", Text),
        Column("place", Integer),
        Column("attempt", Integer),
        Column("micros", BigInteger),
        _required("batch", BigInteger),
        _required("epoch", Integer),
        Column("worker_no", BigInteger),
        _required("at", _TIME),
        Column("input", JSON),
        Column("body", JSON),
    )
    Table(
        "store",
        metadata,
        _key("run_id", Uuid),
        _key("key", Text),
        _required("value", JSON),
    )
    Table(
        "inbox",
        metadata,
        _key("run_id", Uuid),
        _key("no", Integer),
        _required("kind", Text),
        _required("name", Text),
        Column("payload", JSON),
        Column("message_id", Uuid),
        _required("sent_at", _TIME),
        Column("trace", Text),
    )


def _define_workers(metadata: MetaData) -> None:
    Table(
        "workflow_types",
        metadata,
        _key("wf_type", Text),
        _required("start_step", Text),
        _required("step_names", _TEXTS),
        _required("event_names", _TEXTS),
        _required("query_names", _TEXTS),
        _required("update_names", _TEXTS),
        _required("registered_at", _TIME),
    )
    workers = Table(
        "workers",
        metadata,
        Column("worker_no", BigInteger, primary_key=True),
        _required("worker_id", Text),
        _required("worker_name", Text),
        _required("wf_types", _TEXTS),
        _required("concurrency", Integer),
        _required("lease_seconds", Double),
        _required("lease_until", _TIME),
        Column("stalled_since", _TIME),
        Column("stalled_in", _TEXTS),
        _required("started_at", _TIME),
        Column("ended_at", _TIME),
        Column("end_reason", Text),
    )
    Index("workers_live", workers.c.worker_no, postgresql_where=text("ended_at is null"))
    Table(
        "writers",
        metadata,
        Column("worker_no", BigInteger, ForeignKey(workers.c.worker_no), primary_key=True),
        _key("slot", SmallInteger),
        _required("last_batch", BigInteger),
    )
    Table(
        "chores",
        metadata,
        _key("name", Text),
        _required("due_at", _TIME),
        Column("resume_after", Uuid),
    )
    Table("closings", metadata, _key("run_id", Uuid), _required("policy", Text))


def _define_questions(metadata: MetaData) -> None:
    answers = Table(
        "answers",
        metadata,
        _key("message_id", Uuid),
        _required("run_id", Uuid),
        Column("answer", JSON),
        Column("error", JSON),
        _required("answered_at", _TIME),
    )
    Index("answers_run", answers.c.run_id)
    queries = Table(
        "queries",
        metadata,
        _key("query_id", Uuid),
        _required("run_id", Uuid),
        _required("wf_type", Text),
        Column("worker_no", BigInteger),
        _required("name", Text),
        Column("args", JSON),
        _required("asked_at", _TIME),
        _required("expires_at", _TIME),
        Column("taken_at", _TIME),
        Column("answer", JSON),
        Column("error", JSON),
        prefixes=["UNLOGGED"],
    )
    Index(
        "queries_open",
        queries.c.wf_type,
        postgresql_where=text("answer is null and error is null"),
    )


def _define_audit(metadata: MetaData) -> None:
    audit = Table(
        "audit",
        metadata,
        Column("audit_no", BigInteger, primary_key=True),
        _required("at", _TIME),
        _required("actor", Text),
        Column("peer", Text),
        _required("action", Text),
        Column("run_id", Uuid),
        _required("wf_id", Text),
        Column("details", JSON),
        Column("outcome", Text),
    )
    Index("audit_run", audit.c.run_id)
