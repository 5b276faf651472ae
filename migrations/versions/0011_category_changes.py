"""category changes: renames and merges, with all that their undo needs

Revision: 0011
Follows: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("category", sa.Column("merged_into_id", sa.Integer(), nullable=True))
    op.create_table(
        "category_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("batch", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("category_id", sa.Integer(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("last_decision_id", sa.Integer(), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("undone_by", sa.Text(), nullable=True),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undone_decision_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
            name=op.f("fk_category_change_dataset_id_dataset"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["category_id"],
            ["category.id"],
            name=op.f("fk_category_change_category_id_category"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_category_change")),
    )
    op.create_index(
        op.f("ix_category_change_dataset_id_id"), "category_change", ["dataset_id", "id"]
    )
    op.create_index(op.f("ix_category_change_category_id"), "category_change", ["category_id"])
    op.create_table(
        "category_change_label",
        sa.Column("change_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("before_state", sa.SmallInteger(), nullable=False),
        sa.Column("before_source", sa.String(16), nullable=True),
        sa.Column("before_decision_id", sa.Integer(), nullable=True),
        sa.Column("before_provenance", sa.Text(), nullable=True),
        sa.Column("after_state", sa.SmallInteger(), nullable=False),
        sa.Column("after_source", sa.String(16), nullable=True),
        sa.Column("after_decision_id", sa.Integer(), nullable=True),
        sa.Column("after_provenance", sa.Text(), nullable=True),
        sa.Column("restored", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.ForeignKeyConstraint(
            ["change_id"],
            ["category_change.id"],
            name=op.f("fk_category_change_label_change_id_category_change"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["image_id"],
            ["image.id"],
            name=op.f("fk_category_change_label_image_id_image"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("change_id", "image_id", name=op.f("pk_category_change_label")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_category_change_label_image_id"), "category_change_label", ["image_id"]
    )
    op.create_table(
        "category_change_proposal",
        sa.Column("change_id", sa.Integer(), nullable=False),
        sa.Column("proposal_id", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.ForeignKeyConstraint(
            ["change_id"],
            ["category_change.id"],
            name=op.f("fk_category_change_proposal_change_id_category_change"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["proposal_id"],
            ["proposal.id"],
            name=op.f("fk_category_change_proposal_proposal_id_proposal"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "change_id", "proposal_id", name=op.f("pk_category_change_proposal")
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_category_change_proposal_proposal_id"), "category_change_proposal", ["proposal_id"]
    )


def downgrade() -> None:
    op.drop_table("category_change_proposal")
    op.drop_table("category_change_label")
    op.drop_table("category_change")
    op.drop_column("category", "merged_into_id")
