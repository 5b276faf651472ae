"""Keys to the HTTP routes: short-lived, signed, good for one annotator on one dataset."""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from itsdangerous import BadData, SignatureExpired, URLSafeTimedSerializer

from clsl_core.errors import ClslError


class AccessDenied(ClslError):  # noqa: N818 - the words of HTTP
    """A route was called without a valid key; the page makes a new one when it is reloaded."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a key allows: acting as this annotator on this dataset.

    ``client`` names the window it came from (not signed): two windows of one person are shown
    different pairs.
    """

    annotator_id: int
    dataset_id: int
    client: str = ""


class Access:
    """Makes and checks keys.

    Args:
        secret: The signing secret of this data directory.
        max_age: Seconds a key is valid.
    """

    def __init__(self, secret: str, max_age: int) -> None:
        self._serializer = URLSafeTimedSerializer(secret, salt="clsl-routes")
        self._max_age = max_age

    def issue(self, grant: Grant) -> str:
        """A key for a page that this annotator has opened on this dataset."""
        return str(self._serializer.dumps([grant.annotator_id, grant.dataset_id]))

    def check(self, token: str) -> Grant:
        """What the key allows.

        Raises:
            AccessDenied: It is missing, forged or too old.
        """
        try:
            annotator_id, dataset_id = self._serializer.loads(token, max_age=self._max_age)
        except SignatureExpired as error:
            raise AccessDenied("the key of this page has expired: reload the page") from error
        except (BadData, ValueError, TypeError) as error:
            raise AccessDenied("the request carries no valid key: reload the page") from error
        return Grant(annotator_id, dataset_id)


def read_secret(data_dir: Path) -> str:
    """The data directory's secret, made when first needed, readable by its owner alone."""
    path = data_dir / "secret.key"
    if not path.exists():
        temporary = data_dir / f".secret.{os.getpid()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32))
        # When another process was quicker, its secret counts.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
        temporary.unlink()
    return path.read_text()
