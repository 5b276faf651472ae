"""Pictures and features that were there and are gone: more than half of them, and nothing goes on.

A folder that is not mounted looks like a collection without pictures. Were each of them marked as
a problem, the next model would propose for the few that are left and take over, and what people
were about to answer would be gone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from clsl_core.errors import ImageError, TrainingError

__all__ = ["LostPictures", "require_features"]

MOST = 0.5
"""Share of what was usable that may be lost without anybody being asked."""

Outcome = Mapping[int, str | ImageError]


@dataclass(slots=True)
class LostPictures:
    """Holds back that pictures are gone until it is known how many are.

    Attributes:
        dataset: Its name.
        before: Ids of the pictures that could be used before.
        accepted: Somebody said that they are gone for good.
        held: Why each that is gone cannot be used.
    """

    dataset: str
    before: Collection[int]
    accepted: bool = False
    held: dict[int, str | ImageError] = field(default_factory=dict)

    def without(self, outcome: Outcome) -> Outcome:
        """What can be noted at once of some pictures.

        Raises:
            TrainingError: Too many are gone.
        """
        if self.accepted:
            return outcome
        gone = {
            id_: found
            for id_, found in outcome.items()
            if isinstance(found, ImageError) and id_ in self.before
        }
        self.held |= gone
        if len(self.held) > MOST * len(self.before):
            raise TrainingError(self._said(next(iter(self.held.values()))))
        return {id_: found for id_, found in outcome.items() if id_ not in gone}

    def _said(self, first: str | ImageError) -> str:
        return (
            f"at least {len(self.held)} of {len(self.before)} pictures that could be used before "
            f"cannot be read any more; the first: {first}. Nothing was changed, and the model in "
            "charge stays: bring the folder or server of the pictures back, then start again. If "
            f"they are gone for good, `clsl embed {self.dataset!r} --accept-missing` goes on "
            "without them"
        )


def require_features(folder: str, missing: int, total: int) -> None:
    """See that most of the pictures' features are there.

    Raises:
        TrainingError: Too many are gone.
    """
    if missing > MOST * total:
        raise TrainingError(
            f"the features of {missing} of {total} usable pictures are missing from {folder}: "
            "nothing was changed; `clsl embed` makes them again"
        )
