"""A second file of a format in the terms of a first: its ids, its header, its records.

Others use `terms_of`.
"""

from __future__ import annotations

from clsl_core.formats.merging.coco import CocoTerms, LvisTerms
from clsl_core.formats.merging.folders import NusWideTerms, VocTerms
from clsl_core.formats.merging.tables import (
    ImagefolderTerms,
    ListTerms,
    LongTerms,
    OpenImagesTerms,
    WideTerms,
)
from clsl_core.formats.merging.terms import NewIds, Terms
from clsl_core.formats.merging.tools import DatumaroTerms, FiftyoneTerms, LabelStudioTerms

__all__ = ["NewIds", "Terms", "terms_of"]

_TERMS: dict[str, Terms] = {
    "coco": CocoTerms(),
    "lvis": LvisTerms(),
    "voc": VocTerms(),
    "csv-wide": WideTerms(),
    "csv-long": LongTerms(),
    "open-images": OpenImagesTerms(),
    "nus-wide": NusWideTerms(),
    "nus-wide-csv": ListTerms(),
    "imagefolder": ImagefolderTerms(),
    "fiftyone": FiftyoneTerms(),
    "label-studio": LabelStudioTerms(),
    "datumaro": DatumaroTerms(),
}
_OTHER = Terms()


def terms_of(format_name: str) -> Terms:
    """How a format's files are put together; of one that is not named here only by its labels."""
    return _TERMS.get(format_name, _OTHER)
