"""audits: many proposals accepted at once, and such labels say so; samples of what is missing

Revision: 0005
Follows: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "decision",
        sa.Column("source", sa.String(length=16), server_default="human", nullable=False),
    )
    op.create_table(
        "acceptance_audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("category_id", sa.Integer(), nullable=False),
        sa.Column("annotator_id", sa.Integer(), nullable=False),
        sa.Column("frame", sa.Text(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("last_decision_id", sa.Integer(), nullable=False),
        sa.Column("batch_id", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["annotator_id"],
            ["annotator.id"],
            name=op.f("fk_acceptance_audit_annotator_id_annotator"),
        ),
        sa.ForeignKeyConstraint(
            ["category_id"],
            ["category.id"],
            name=op.f("fk_acceptance_audit_category_id_category"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
            name=op.f("fk_acceptance_audit_dataset_id_dataset"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acceptance_audit")),
    )
    for column in ("annotator_id", "category_id", "dataset_id"):
        op.create_index(op.f(f"ix_acceptance_audit_{column}"), "acceptance_audit", [column])
    op.create_index(
        "uq_acceptance_audit_open",
        "acceptance_audit",
        ["category_id"],
        unique=True,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "completeness_audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("category_id", sa.Integer(), nullable=True),
        sa.Column("annotator_id", sa.Integer(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("last_decision_id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["annotator_id"],
            ["annotator.id"],
            name=op.f("fk_completeness_audit_annotator_id_annotator"),
        ),
        sa.ForeignKeyConstraint(
            ["category_id"],
            ["category.id"],
            name=op.f("fk_completeness_audit_category_id_category"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
            name=op.f("fk_completeness_audit_dataset_id_dataset"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_completeness_audit")),
    )
    for columns in (("annotator_id",), ("category_id",), ("dataset_id", "category_id", "id")):
        name = op.f(f"ix_completeness_audit_{'_'.join(columns)}")
        op.create_index(name, "completeness_audit", list(columns))


def downgrade() -> None:
    op.drop_table("completeness_audit")
    op.drop_table("acceptance_audit")
    # The version before knows only people's labels with a decision.
    op.execute("UPDATE label SET source = 'human' WHERE source = 'model, audited'")
    op.execute(
        "UPDATE decision SET previous_source = 'human' WHERE previous_source = 'model, audited'"
    )
    op.drop_column("decision", "source")
