"""pictures: further folders and URLs where they are looked for

Revision: 0007
Follows: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "dataset", sa.Column("more_roots", sa.Text(), server_default="[]", nullable=False)
    )
    op.add_column("dataset", sa.Column("url_field", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("dataset", "url_field")
    op.drop_column("dataset", "more_roots")
