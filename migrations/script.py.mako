"""${message}."""

from __future__ import annotations

from alembic import op

from grctl.postgres.migrations import run_script

revision: str = ${repr(up_revision)}
down_revision: str | None = ${repr(down_revision)}
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    run_script(op, "${up_revision}_upgrade.sql")


def downgrade() -> None:
    run_script(op, "${up_revision}_downgrade.sql")
