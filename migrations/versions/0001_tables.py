"""The first tables, and the functions that need several statements in one round trip."""

from __future__ import annotations

from alembic import op

from grctl.postgres.migrations import run_script

revision = "0001"
down_revision = None

SCRIPTS = ("tables", "starts", "messages", "batches", "leases", "acts")


def upgrade() -> None:
    for name in SCRIPTS:
        run_script(op, f"0001_{name}.sql")


def downgrade() -> None:
    run_script(op, "0001_down.sql")
