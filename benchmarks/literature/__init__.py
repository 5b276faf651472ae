"""Collections of the literature, from their original files, by the protocol of partial labels.

    python -m benchmarks.literature voc2007 --root VOCdevkit/VOC2007 --backbone ViT-B-16 \
        --work FOLDER --json OUT.json

Every entry is kept with probability 10 … 90 %, or one positive of each image; features are
computed once into ``--work``; the published numbers stand beside ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.literature import coco2014, nuswide, voc2007
from benchmarks.literature.embedding import embed
from benchmarks.literature.original import Original, Part
from benchmarks.literature.published import PUBLISHED, PUBLISHED_KNOWN
from benchmarks.problem import Inputs
from benchmarks.recovery import cells, measure
from benchmarks.regimes import Regime
from benchmarks.runs import Runner, Sheet, run_child, say
from benchmarks.table import print_table
from clsl_core.backbones.choice import choose_backbone
from clsl_core.backbones.descriptions import read_descriptions
from clsl_core.backbones.spec import AUTO, Backbone
from clsl_core.errors import NotFoundError
from clsl_core.types import Progress

__all__ = ["DATASETS", "Request", "read_original", "run_benchmark"]

DATASETS: Mapping[str, Callable[[Path], Original]] = {
    "coco2014": coco2014.read,
    "voc2007": voc2007.read,
    "nuswide": nuswide.read,
}


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes:
        dataset: A name in ``DATASETS``.
        root: The folder of the original files.
        work: Where features, drawn labels and scores go.
        backbone, pretrained: See ``choose_backbone``.
        descriptions: File of category descriptions for the methods that use them, or None.
        known: Shares known in the mixed regime.
        single: Measure the single-positive regime, too.
        seeds: Draws of each.
        methods: Names in ``baselines.METHODS``.
        output: JSON file for the results, or None.
        resume: Go on with an earlier results file.
        limit: Use the first pictures of each split only; 0 uses all. Not a result, a trial.
        timeout: Seconds one method may take on one draw.
    """

    dataset: str
    root: Path
    work: Path
    backbone: str = AUTO
    pretrained: str | None = None
    descriptions: Path | None = None
    known: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    single: bool = True
    seeds: int = 3
    methods: tuple[str, ...] = ("zero-shot-patch", "knn", "logistic-known", "released", "ours")
    output: Path | None = None
    resume: bool = False
    limit: int = 0
    timeout: float = 86_400.0


def run_benchmark(
    request: Request,
    progress: Progress | None = None,
    backbone: Backbone | None = None,
    runner: Runner = run_child,
) -> Sheet:
    """Read, embed, measure; prints the tables and the published numbers.

    Args:
        request: What to measure.
        progress: Called while embedding; by default one line on stderr for each 2,048 pictures.
        backbone: One that is loaded already.
        runner: Has each method measured, by default in a process of its own.

    Raises:
        ClslError: The files, the backbone or the results file cannot be used.
    """
    original = read_original(request.dataset, request.root, request.limit)
    encoder, notice = (
        (backbone, None)
        if backbone is not None
        else choose_backbone(request.backbone, request.pretrained)
    )
    if notice:
        say(notice)
    said = read_descriptions(request.descriptions) if request.descriptions else None
    places = {}
    for split, part in (("train", original.train), ("test", original.test)):
        places[split] = request.work / f"{request.dataset}-{encoder.spec.key}" / split
        places[split].mkdir(parents=True, exist_ok=True)
        gone = embed(part, original.categories, encoder, places[split], progress or _tell, said)
        say(f"{split}: {len(part.files) - gone} pictures, {gone} cannot be read and are left out")
    wanted = cells(request.methods, [Regime.MIXED], request.known, request.seeds)
    if request.single:
        wanted += cells(request.methods, [Regime.SINGLE], [1.0], request.seeds)
    sheet = measure(
        Inputs(places["train"], places["test"]),
        wanted,
        output=request.output,
        resume=request.resume,
        min_positives=1,
        timeout=request.timeout,
        runner=runner,
    )
    print(f"{encoder.spec.describe()}\n")
    _report_published(request.dataset)
    return sheet


def read_original(name: str, root: Path, limit: int = 0) -> Original:
    """Read a collection's original files.

    Raises:
        NotFoundError: There is no such collection.
        InputError: A file is missing or damaged.
    """
    if name not in DATASETS:
        raise NotFoundError(f"there is no collection {name!r}; there are {', '.join(DATASETS)}.")
    whole = DATASETS[name](root)
    if not limit:
        return whole
    return replace(whole, train=_cut(whole.train, limit), test=_cut(whole.test, limit))


def _cut(part: Part, limit: int) -> Part:
    return replace(part, files=part.files[:limit], truth=part.truth[:limit])


def _report_published(name: str) -> None:
    print(f"published, {PUBLISHED_KNOWN:.0%} known (protocols and backbones differ):\n")
    rows: Sequence[Sequence[str]] = [[who, f"{map_:.1f}"] for who, map_ in PUBLISHED[name].items()]
    print_table(["method", "test mAP"], rows)


def _tell(done: int, total: int, what: str) -> None:
    say(f"{what}: {done} of {total}")
