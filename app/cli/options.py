"""What several commands take, said once; and the words that options choose from.

Nothing here imports what a command works with: ``clsl --help`` comes at once. A test holds the
words against those of the services.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

AUTO = "auto"
FORMATS = (
    "coco",
    "lvis",
    "voc",
    "csv-wide",
    "csv-long",
    "open-images",
    "nus-wide",
    "nus-wide-csv",
    "imagefolder",
    "fiftyone",
    "label-studio",
    "datumaro",
    "yolo",
    "cvat",
)
MOST_EVENTS = 1000
MOST_CONFLICTS = 200


class Finetune(StrEnum):
    """What of a backbone is trained first."""

    NONE = "none"
    LORA = "lora"
    FULL = "full"


class Policy(StrEnum):
    """What merged categories are to one another."""

    SAME = "same"
    WIDER = "wider"


class Rule(StrEnum):
    """What a contradiction between categories of the same thing becomes."""

    TARGET = "target"
    PRESENT = "present"
    UNKNOWN = "unknown"


class Only(StrEnum):
    """Which images go in by what is known of them."""

    ALL = "all"
    REVIEWED = "reviewed"
    COMPLETE = "complete"


class Absent(StrEnum):
    """What a missing annotation means."""

    UNKNOWN = "unknown"
    NEGATIVE = "negative"


class Difficult(StrEnum):
    """What a category of only difficult objects is."""

    IGNORE = "ignore"
    PRESENT = "present"
    ABSENT = "absent"


class Zero(StrEnum):
    """What 0 means in a table."""

    AUTO = "auto"
    ABSENT = "absent"
    UNKNOWN = "unknown"


class MinusOne(StrEnum):
    """What -1 means in a table."""

    ABSENT = "absent"
    UNKNOWN = "unknown"


class Scores(StrEnum):
    """What the predictions of a file are."""

    PROPOSALS = "proposals"
    FINAL = "final"


class Folders(StrEnum):
    """What the folder of a picture says."""

    IGNORE = "ignore"
    LABELS = "labels"


class Empty(StrEnum):
    """What an image without a line says."""

    UNKNOWN = "unknown"
    ABSENT = "absent"


class Names(StrEnum):
    """Which names a picture may have."""

    EXACT = "exact"
    ALIKE = "alike"
    NEAR = "near"


class Match(StrEnum):
    """What counts where ids and names disagree."""

    AUTO = "auto"
    IDS = "ids"
    NAMES = "names"


class Heading(StrEnum):
    """Under which a command is listed."""

    DATA = "Collections"
    MODEL = "Models"
    REVIEW = "Reviewing"
    PEOPLE = "People"
    RUNNING = "Running it"


DataDir = Annotated[
    Path | None,
    typer.Option(help="Where everything lives.", envvar="CLSL_DATA_DIR", show_default=False),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")]
DatasetName = Annotated[str, typer.Argument(help="The dataset's name.", show_default=False)]
SnapshotName = Annotated[str, typer.Argument(help="The snapshot's name.", show_default=False)]
AnnotationFile = Annotated[Path, typer.Argument(help="The annotation file.", show_default=False)]
BackupFile = Annotated[Path, typer.Argument(help="The archive.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only say what would happen; nothing is changed.")
]
FormatOption = Annotated[
    str, typer.Option("--format", help=f"Its format: {AUTO}, {', '.join(FORMATS)}.")
]
BackboneName = Annotated[
    str | None, typer.Option(help="auto, builtin, or an open_clip model name.", show_default=False)
]
Pretrained = Annotated[
    str | None, typer.Option(help="Hub tag, or path of a checkpoint.", show_default=False)
]
UrlField = Annotated[
    str | None,
    typer.Option(
        "--urls",
        metavar="FIELD",
        help="Fetch each picture from the URL in this field of its record, such as coco_url.",
        show_default=False,
    ),
]
AbsentOption = Annotated[
    Absent, typer.Option(help="What a missing annotation means: nothing, or not there.")
]
ExhaustiveOption = Annotated[
    list[str] | None,
    typer.Option(
        "--exhaustive",
        help="A category annotated in every image: there, missing means absent. May be repeated.",
        show_default=False,
    ),
]
DifficultOption = Annotated[
    Difficult, typer.Option(help="VOC: what a category of only difficult objects is.")
]
ZeroOption = Annotated[
    Zero, typer.Option(help="Tables: what 0 means; auto: absent, unless the file has a -1.")
]
NamesOption = Annotated[
    Names,
    typer.Option(
        help="Pictures are found under exactly their names, under names that differ in writing "
        "only, or also with folders left out or put in front, where only one file fits."
    ),
]
MatchOption = Annotated[
    Match,
    typer.Option(
        help="In a known dataset: what counts where ids and names disagree. auto: names where "
        "they tell more, else it stops and shows both readings."
    ),
]
MinusOneOption = Annotated[
    MinusOne, typer.Option(help="Tables: what -1 means; unknown where it stands for uncertain.")
]
NotLabelOption = Annotated[
    list[str] | None,
    typer.Option(
        "--not-label",
        help="Wide tables: a column that is no category. May be repeated.",
        show_default=False,
    ),
]
PictureKeyOption = Annotated[
    str,
    typer.Option(
        help="Label Studio: the key of a task's data that holds the picture.", show_default=False
    ),
]
FoldersOption = Annotated[
    Folders,
    typer.Option(help="A plain folder of pictures: whether its subfolders are named as labels."),
]
EmptyOption = Annotated[
    Empty, typer.Option(help="YOLO: what all classes are in an image without a line.")
]
ScoresOption = Annotated[
    Scores, typer.Option(help="What predictions are: proposals to be judged, or final labels.")
]
ThresholdOption = Annotated[
    float, typer.Option(help="The least score of a prediction that is taken in.", min=0)
]
OneCategory = Annotated[
    str,
    typer.Argument(help="A category's name, or id: and its id in the file.", show_default=False),
]
MergedAs = Annotated[
    Policy,
    typer.Option(
        "--as",
        help="same: the same thing under several names. wider: the one that stays is the wider "
        "concept, absent only where all of them are absent.",
    ),
]
Contradiction = Annotated[
    Rule,
    typer.Option(
        "--contradiction",
        help="With --as same, what a contradiction becomes: what the one that stays says, "
        "present, or unknown.",
    ),
]
SplitOnly = Annotated[
    str | None, typer.Option("--split", help="Only images of this split.", show_default=False)
]
PrefixOnly = Annotated[
    str | None,
    typer.Option("--prefix", help="Only images whose file name begins so.", show_default=False),
]
