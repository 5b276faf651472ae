"""each source file keeps its own header

Revision: 0013
Follows: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

FIRST = """
INSERT INTO source_file (dataset_id, name, header, declared, matched, imported_at)
SELECT id, name, header, '{"exhaustive": null}', 'ids', created_at
FROM dataset
"""
"""What was brought in before is taken to be one file, of which nobody knows what was declared."""


def upgrade() -> None:
    op.create_table(
        "source_file",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("header", sa.Text(), nullable=False),
        sa.Column("declared", sa.Text(), nullable=False),
        sa.Column("matched", sa.Text(), nullable=False),
        sa.Column("imported_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
            name=op.f("fk_source_file_dataset_id_dataset"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source_file")),
    )
    op.create_index(op.f("ix_source_file_dataset_id"), "source_file", ["dataset_id"], unique=False)
    op.execute(FIRST)
    op.add_column("annotation", sa.Column("source_id", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("annotation", "source_id")
    op.drop_index(op.f("ix_source_file_dataset_id"), table_name="source_file")
    op.drop_table("source_file")
