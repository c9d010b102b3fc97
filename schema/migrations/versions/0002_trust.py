"""what a shared store needs: its own name, retired blocks, deleted versions, forgotten contents"""

from __future__ import annotations

import time
import uuid

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    store = op.create_table(
        "store",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(store, [{"id": uuid.uuid4().hex, "created_at": time.time()}])
    with op.batch_alter_table("dataset_version") as table:
        table.add_column(sa.Column("deleted_at", sa.Float(), nullable=True))
    with op.batch_alter_table("block") as table:
        table.add_column(sa.Column("retired_at", sa.Float(), nullable=True))
        table.add_column(sa.Column("origin", sa.JSON(), nullable=False, server_default="{}"))
    with op.batch_alter_table("block") as table:
        table.alter_column("origin", server_default=None, existing_type=sa.JSON())
    # An estimator that was pulled learned from a dataset that is not here.
    with op.batch_alter_table("estimator") as table:
        table.alter_column("dataset_version_id", nullable=True, existing_type=sa.Integer())
    op.create_table(
        "forgotten",
        sa.Column("sample_id", sa.LargeBinary(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("forgotten_at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"]),
        sa.PrimaryKeyConstraint("sample_id"),
    )
