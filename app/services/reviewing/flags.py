"""Flags: an annotator found an image odd, and says why; somebody resolves it."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.services.access import rights
from app.services.access.grants import Grant
from app.services.access.rights import Right
from app.services.reviewing import repeats
from app.services.reviewing.verdicts import ID_LENGTH, Receipt
from app.services.workspace import Workspace
from db.models import Category, Flag, Image
from db.queries import flags, stored
from db.types import now

LONGEST_COMMENT = 1_000


def flag(
    workspace: Workspace,
    grant: Grant,
    client_id: str,
    image_id: int,
    *,
    category_id: int | None = None,
    comment: str = "",
) -> Receipt:
    """Flag an image; the same ``client_id`` again is the same flag, or it is refused."""
    rights.require(Right.DECIDE)
    with workspace.database.write(grant.dataset_id) as session:
        earlier = flags.by_client_id(session, client_id)
        if earlier is not None:
            said = (grant.annotator_id, grant.dataset_id, image_id, category_id, comment.strip())
            if said == _said(earlier):
                return Receipt(client_id, "duplicate")
            return Receipt(client_id, "refused", repeats.OTHER)
        refusal = _refusal(session, grant, client_id, image_id, category_id, comment)
        if refusal is not None:
            return Receipt(client_id, "refused", refusal)
        stored.add(
            session,
            Flag(
                client_id=client_id,
                dataset_id=grant.dataset_id,
                image_id=image_id,
                category_id=category_id,
                annotator_id=grant.annotator_id,
                comment=comment.strip(),
            ),
        )
    return Receipt(client_id, "saved", count=1)


def unflag(workspace: Workspace, grant: Grant, client_id: str, image_id: int) -> Receipt:
    """Resolve every open flag of an image, whoever raised it."""
    rights.require(Right.DECIDE)
    with workspace.database.write(grant.dataset_id) as session:
        image = stored.find(session, Image, image_id)
        if image is None or image.dataset_id != grant.dataset_id:
            return Receipt(client_id, "refused", "this image is not in the dataset any more")
        count = flags.resolve(session, image_id, grant.annotator_id, now())
    return Receipt(client_id, "saved" if count else "duplicate", count=count)


def _said(flag: Flag) -> tuple[int, int, int, int | None, str]:
    """What a flag says, by whom, and of which dataset."""
    return flag.annotator_id, flag.dataset_id, flag.image_id, flag.category_id, flag.comment


def _refusal(
    session: Session,
    grant: Grant,
    client_id: str,
    image_id: int,
    category_id: int | None,
    comment: str,
) -> str | None:
    if len(client_id) not in ID_LENGTH:
        return "the flag's own id must have 8 to 64 characters"
    if len(comment) > LONGEST_COMMENT:
        return f"the comment has {len(comment)} characters, at most {LONGEST_COMMENT} fit"
    image = stored.find(session, Image, image_id)
    if image is None or image.dataset_id != grant.dataset_id:
        return "this image is not in the dataset any more"
    category = None if category_id is None else stored.find(session, Category, category_id)
    if category_id is not None and (category is None or category.dataset_id != grant.dataset_id):
        return "this category is not in the dataset any more"
    return None
