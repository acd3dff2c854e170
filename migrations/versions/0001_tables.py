"""The first tables, and the functions that need several statements in one round trip."""

from __future__ import annotations

from alembic import op

from grctl.postgres.migrations import run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_script(op, "0001_tables.sql")
    run_script(op, "0001_functions.sql")


def downgrade() -> None:
    run_script(op, "0001_down.sql")
