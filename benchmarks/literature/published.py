"""What others report, to be printed beside: mean average precision in per cent at 10 % known.

Protocols differ. CSL chooses its epoch on test labels and reports interpolated precision; the
backbones differ, too. A number here is a landmark, not a result of this program.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["PUBLISHED", "PUBLISHED_KNOWN"]

PUBLISHED_KNOWN = 0.1

PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "coco2014": {"CSL": 82.6, "DualCoOp++": 81.4, "SCPNet": 80.3, "SARB": 71.2},
    "voc2007": {"DualCoOp+TaI-DPT": 93.3, "CSL": 91.7, "SCPNet": 91.1, "SARB": 83.5},
    "nuswide": {"CSL": 61.7},
}
