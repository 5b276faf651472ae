"""sharing: several people judge a pair, known answers among the questions, parts for people

Revision: 0008
Follows: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None


def _pair() -> list[sa.Column[int]]:
    return [
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("category_id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
    ]


def _keys(table: str, *, paired: bool) -> list[sa.Constraint]:
    names = ("image", "category", "dataset") if paired else ("annotator", "category", "dataset")
    found: list[sa.Constraint] = [
        sa.ForeignKeyConstraint(
            [f"{name}_id"],
            [f"{name}.id"],
            name=op.f(f"fk_{table}_{name}_id_{name}"),
            ondelete="CASCADE",
        )
        for name in names
    ]
    columns = ("image_id", "category_id") if paired else ("id",)
    return [*found, sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))]


def upgrade() -> None:
    overlap = sa.Column("overlap", sa.Integer(), server_default="1", nullable=False)
    op.add_column("dataset", overlap)
    op.add_column(
        "decision", sa.Column("voice", sa.String(length=16), server_default="sole", nullable=False)
    )
    op.create_table(
        "panel",
        *_pair(),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("present", sa.Integer(), nullable=False),
        sa.Column("absent", sa.Integer(), nullable=False),
        sa.Column("base_state", sa.SmallInteger(), nullable=False),
        sa.Column("base_source", sa.String(length=16), nullable=True),
        sa.Column("base_decision_id", sa.Integer(), nullable=True),
        *_keys("panel", paired=True),
    )
    columns = ["dataset_id", "status", "image_id", "category_id"]
    op.create_index(op.f("ix_panel_dataset_id_status_image_id_category_id"), "panel", columns)
    op.create_index(op.f("ix_panel_category_id"), "panel", ["category_id"])
    op.create_table(
        "gold",
        *_pair(),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN (-1, 1)", name=op.f("ck_gold_state")),
        *_keys("gold", paired=True),
    )
    op.create_index(op.f("ix_gold_dataset_id"), "gold", ["dataset_id"])
    op.create_index(op.f("ix_gold_category_id"), "gold", ["category_id"])
    op.create_table(
        "assignment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=False),
        sa.Column("category_id", sa.Integer(), nullable=True),
        sa.Column("split", sa.Text(), nullable=True),
        sa.Column("prefix", sa.Text(), nullable=True),
        sa.Column("exclusive", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        *_keys("assignment", paired=False),
    )
    both = ["dataset_id", "annotator_id"]
    op.create_index(op.f("ix_assignment_dataset_id_annotator_id"), "assignment", both)
    op.create_index(op.f("ix_assignment_annotator_id"), "assignment", ["annotator_id"])
    op.create_index(op.f("ix_assignment_category_id"), "assignment", ["category_id"])


def downgrade() -> None:
    # Verdicts that made no label would each look like one to the version before.
    op.execute(
        "UPDATE decision SET verdict = 'skip' WHERE voice <> 'sole' AND verdict <> 'undo' "
        "AND NOT EXISTS (SELECT 1 FROM label WHERE label.decision_id = decision.id)"
    )
    op.drop_table("assignment")
    op.drop_table("gold")
    op.drop_table("panel")
    op.drop_column("decision", "voice")
    op.drop_column("dataset", "overlap")
