"""What the routes read: one model for each, from which the description is made, too."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.api.fields import Chance, ClientId, Cursor, Empty, Id, Name, Seconds, Text, Whole

Strategy = Literal[
    "likely", "uncertain", "mixed", "absent", "random", "disagreements", "flagged", "similar"
]
State = Literal["present", "absent"]
MAX_CARDS = 100
MAX_LEASES = 500
MAX_DECISIONS = 100


class Given(BaseModel):
    """What a request gives, checked. Fields that no model names are not looked at."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=False)


class Nothing(Given):
    """The route asks for nothing."""


class Queue(Given):
    """Which cards are wanted."""

    strategy: Strategy = Field("likely", description="Which queue.")
    category: Annotated[Id | None, Empty] = Field(None, description="Only this category.")
    state: Annotated[State | None, Empty] = Field(None, description="Only these proposals.")
    lowest: Annotated[Chance | None, Empty] = Field(
        None, alias="min", description="Least probability."
    )
    highest: Annotated[Chance | None, Empty] = Field(
        None, alias="max", description="Largest probability."
    )
    split: Annotated[Text | None, Empty] = Field(None, description="Only images of this split.")
    text: Annotated[Text | None, Empty] = Field(None, description="Part of the file name.")
    anchor: Annotated[Id | None, Empty] = Field(
        None, description="Image whose neighbours are wanted."
    )
    limit: Whole = Field(20, ge=1, le=MAX_CARDS, description="Cards.")
    after: Annotated[Cursor | None, Empty] = Field(
        None, description="The cursor of the page before."
    )
    siblings: Literal["0", "1"] = Field("0", description="The images' other proposals, too.")


class Leases(Given):
    """The cards to keep, or that all are given back."""

    proposals: list[Id] = Field([], max_length=MAX_LEASES)
    release: bool = Field(False, strict=True)

    @model_validator(mode="after")
    def _says_something(self) -> Leases:
        if not self.release and "proposals" not in self.model_fields_set:
            raise PydanticCustomError(
                "nothing", "the body must hold a list called proposals, or release: true"
            )
        return self


class Verdict(Given):
    """What a person said of one pair."""

    client_id: ClientId
    image_id: Id
    category_id: Id
    verdict: Literal["present", "absent", "skip"]
    proposal_id: Annotated[Id | None, Empty] = None
    seconds: Seconds | None = None


class Decisions(Given):
    """Verdicts; with a batch's id they are undone as one."""

    decisions: list[Verdict] = Field(max_length=MAX_DECISIONS)
    batch_id: Annotated[ClientId | None, Empty] = None


class Absent(Given):
    """The image in which everything else is absent."""

    client_id: ClientId
    image_id: Id
    seconds: Seconds | None = None


class Undo(Given):
    """The decision or batch that is taken back."""

    client_id: ClientId
    undoes: ClientId


class Redo(Given):
    """The decision or batch that is made again."""

    client_id: ClientId
    redoes: ClientId


class History(Given):
    """Which part of the annotator's history."""

    limit: Whole = Field(50, ge=1, description="Entries.")
    before: Annotated[Cursor | None, Empty] = Field(
        None, description="The cursor of the page before."
    )


class Flag(Given):
    """What is odd about an image."""

    client_id: ClientId
    image_id: Id
    category_id: Annotated[Id | None, Empty] = None
    comment: Annotated[Text | None, Empty] = None


class Unflag(Given):
    """The image whose flags are settled."""

    client_id: ClientId
    image_id: Id


class Preferences(Given):
    """The keys that differ from the defaults."""

    keys: dict[Name, Text]


class Picture(Given):
    """A picture, and how large."""

    image_id: Id
    size: Whole = Field(
        960,
        description="Longest side; another number gets the nearest of these.",
        json_schema_extra={"enum": [240, 480, 960, 1920]},
    )


class Boxes(Given):
    """A picture."""

    image_id: Id


class Heatmap(Given):
    """A proposal."""

    proposal_id: Id
