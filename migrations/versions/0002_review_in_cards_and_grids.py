"""review in cards and grids: batches, flags, keys, queues in every order

Revision: 0002
Follows: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "flag",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.Integer(), nullable=False),
        sa.Column("category_id", sa.Integer(), nullable=True),
        sa.Column("annotator_id", sa.Integer(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("resolved_by_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["annotator_id"], ["annotator.id"], name=op.f("fk_flag_annotator_id_annotator")
        ),
        sa.ForeignKeyConstraint(
            ["category_id"],
            ["category.id"],
            name=op.f("fk_flag_category_id_category"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["dataset_id"],
            ["dataset.id"],
            name=op.f("fk_flag_dataset_id_dataset"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["image.id"], name=op.f("fk_flag_image_id_image"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["resolved_by_id"], ["annotator.id"], name=op.f("fk_flag_resolved_by_id_annotator")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flag")),
        sa.UniqueConstraint("client_id", name=op.f("uq_flag_client_id")),
    )
    op.create_index(op.f("ix_flag_annotator_id"), "flag", ["annotator_id"], unique=False)
    op.create_index(op.f("ix_flag_category_id"), "flag", ["category_id"], unique=False)
    op.create_index(
        op.f("ix_flag_dataset_id_resolved_at"), "flag", ["dataset_id", "resolved_at"], unique=False
    )
    op.create_index(op.f("ix_flag_image_id"), "flag", ["image_id"], unique=False)
    op.create_index(op.f("ix_flag_resolved_by_id"), "flag", ["resolved_by_id"], unique=False)
    op.add_column("annotator", sa.Column("keys", sa.Text(), server_default="{}", nullable=False))
    op.add_column("decision", sa.Column("batch_id", sa.Text(), nullable=True))
    op.create_index(op.f("ix_decision_batch_id"), "decision", ["batch_id"], unique=False)
    op.add_column("image", sa.Column("split", sa.Text(), nullable=True))
    op.create_index(
        op.f("ix_image_dataset_id_split"), "image", ["dataset_id", "split"], unique=False
    )
    op.add_column("lease", sa.Column("client", sa.Text(), server_default="", nullable=False))
    op.create_index(op.f("ix_lease_expires_at"), "lease", ["expires_at"], unique=False)
    op.add_column("proposal", sa.Column("chance", sa.Double(), server_default="0", nullable=False))
    op.add_column("proposal", sa.Column("margin", sa.Double(), server_default="0", nullable=False))
    op.add_column("proposal", sa.Column("turn", sa.Integer(), server_default="0", nullable=False))
    op.add_column("proposal", sa.Column("lot", sa.Integer(), server_default="0", nullable=False))
    op.add_column(
        "proposal",
        sa.Column("disputes", sa.Boolean(), server_default=sa.text("false"), nullable=False),
    )
    # Of proposals that exist the mixed order is not known: they keep the order they were made in.
    op.execute("UPDATE proposal SET chance = COALESCE(probability, score), turn = id")
    op.execute("UPDATE proposal SET margin = ABS(chance - 0.5)")
    if op.get_bind().dialect.name == "sqlite":
        op.execute("UPDATE proposal SET lot = ABS(RANDOM()) % 2147483647")
    else:
        op.execute("UPDATE proposal SET lot = FLOOR(RANDOM() * 2147483647)")
    op.drop_index(op.f("ix_proposal_category_queue"), table_name="proposal")
    op.drop_index(op.f("ix_proposal_queue"), table_name="proposal")
    op.create_index(
        "ix_proposal_category_likely",
        "proposal",
        ["model_run_id", "category_id", "status", "state", "chance", "score", "id"],
        unique=False,
    )
    op.create_index(
        "ix_proposal_category_uncertain",
        "proposal",
        ["model_run_id", "category_id", "status", "margin", "id"],
        unique=False,
    )
    op.create_index(
        "ix_proposal_control",
        "proposal",
        ["model_run_id", "status", "lot", "id"],
        unique=False,
        sqlite_where=sa.text("control"),
        postgresql_where=sa.text("control"),
    )
    op.create_index(
        "ix_proposal_likely",
        "proposal",
        ["model_run_id", "status", "state", "chance", "score", "id"],
        unique=False,
    )
    op.create_index(
        "ix_proposal_mixed", "proposal", ["model_run_id", "status", "turn", "id"], unique=False
    )
    op.create_index(
        "ix_proposal_uncertain",
        "proposal",
        ["model_run_id", "status", "margin", "id"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index("ix_proposal_uncertain", table_name="proposal")
    op.drop_index("ix_proposal_mixed", table_name="proposal")
    op.drop_index("ix_proposal_likely", table_name="proposal")
    op.drop_index(
        "ix_proposal_control",
        table_name="proposal",
        sqlite_where=sa.text("control"),
        postgresql_where=sa.text("control"),
    )
    op.drop_index("ix_proposal_category_uncertain", table_name="proposal")
    op.drop_index("ix_proposal_category_likely", table_name="proposal")
    op.create_index(
        op.f("ix_proposal_queue"),
        "proposal",
        ["model_run_id", "status", "state", "score", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_proposal_category_queue"),
        "proposal",
        ["model_run_id", "category_id", "status", "state", "score", "id"],
        unique=False,
    )
    op.drop_column("proposal", "disputes")
    op.drop_column("proposal", "lot")
    op.drop_column("proposal", "turn")
    op.drop_column("proposal", "margin")
    op.drop_column("proposal", "chance")
    op.drop_index(op.f("ix_lease_expires_at"), table_name="lease")
    op.drop_column("lease", "client")
    op.drop_index(op.f("ix_image_dataset_id_split"), table_name="image")
    op.drop_column("image", "split")
    op.drop_index(op.f("ix_decision_batch_id"), table_name="decision")
    op.drop_column("decision", "batch_id")
    op.drop_column("annotator", "keys")
    op.drop_index(op.f("ix_flag_resolved_by_id"), table_name="flag")
    op.drop_index(op.f("ix_flag_image_id"), table_name="flag")
    op.drop_index(op.f("ix_flag_dataset_id_resolved_at"), table_name="flag")
    op.drop_index(op.f("ix_flag_category_id"), table_name="flag")
    op.drop_index(op.f("ix_flag_annotator_id"), table_name="flag")
    op.drop_table("flag")
