"""the loop runs itself: gate, pins, facts of runs, schedules, notices

Revision: 0003
Follows: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notice",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("good", sa.Boolean(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
            name=op.f("fk_notice_dataset_id_dataset"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
    )
    op.create_index(op.f("ix_notice_dataset_id"), "notice", ["dataset_id"], unique=False)
    op.add_column(
        "annotator", sa.Column("notices_seen", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column("dataset", sa.Column("schedule", sa.Text(), nullable=True))
    op.add_column("dataset", sa.Column("schedule_from", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "model_run",
        sa.Column("pinned", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    op.add_column(
        "model_run", sa.Column("snapshot", sa.Text(), server_default="{}", nullable=False)
    )
    op.add_column("model_run", sa.Column("gate", sa.Text(), nullable=True))
    op.add_column("model_run", sa.Column("seconds", sa.Double(), nullable=True))
    op.add_column("model_run", sa.Column("peak_memory", sa.BigInteger(), nullable=True))
    op.add_column("model_run", sa.Column("peak_gpu_memory", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("model_run", "peak_gpu_memory")
    op.drop_column("model_run", "peak_memory")
    op.drop_column("model_run", "seconds")
    op.drop_column("model_run", "gate")
    op.drop_column("model_run", "snapshot")
    op.drop_column("model_run", "pinned")
    op.drop_column("dataset", "schedule_from")
    op.drop_column("dataset", "schedule")
    op.drop_column("annotator", "notices_seen")
    op.drop_index(op.f("ix_notice_dataset_id"), table_name="notice")
    op.drop_table("notice")
