"""imports: a new dataset is hidden until all of its rows are there

Revision: 0006
Follows: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("dataset", sa.Column("unfinished_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    # The version before would show what is half there.
    op.execute("DELETE FROM dataset WHERE unfinished_at IS NOT NULL")
    op.drop_column("dataset", "unfinished_at")
