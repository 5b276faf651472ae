"""How far people agree, by category and by two, and how well each judges known answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from app.services.access import rights
from app.services.access.rights import Right
from app.services.workspace import Workspace, find_dataset
from clsl_core.statistics.agreement import alpha, cohen, fleiss
from clsl_core.statistics.intervals import wilson
from clsl_core.types import LabelState
from db.queries import agreement, datasets, panels
from db.queries.agreement import Said

FEW = 30
"""Below so many pairs a coefficient says little, and the tables say that."""


@dataclass(frozen=True, slots=True)
class CategoryAgreement:
    """How far all people agree on a category, or on all together.

    Attributes:
        pairs: Pairs on which all have spoken, two at least.
        unanimous: Share of them on which all said the same, with Wilson's 95 % interval.
        fleiss: Fleiss' kappa over ``fleiss_pairs``, those with the usual number of verdicts.
        alpha: Krippendorff's alpha over all; None, as ``fleiss``, where all said the same.
        few: On fewer than FEW pairs.
    """

    category: str
    pairs: int
    verdicts: int
    unanimous: float
    low: float
    high: float
    fleiss: float | None
    fleiss_pairs: int
    alpha: float | None
    few: bool


@dataclass(frozen=True, slots=True)
class PeopleAgreement:
    """How far two people agree on the pairs that both have judged; as ``CategoryAgreement``."""

    first: str
    second: str
    pairs: int
    same: float
    low: float
    high: float
    kappa: float | None
    few: bool


@dataclass(frozen=True, slots=True)
class PersonQuality:
    """How often somebody gave the known answer, with Wilson's 95 % interval.

    Attributes:
        missed: They said absent of what is present.
        invented: They said present of what is absent.
    """

    annotator: str
    pairs: int
    right: int
    accuracy: float
    low: float
    high: float
    missed: int
    invented: int
    few: bool


@dataclass(frozen=True, slots=True)
class AgreementReport:
    """Everything about how people judge one dataset; ``together`` is None while nothing is."""

    overlap: int
    together: CategoryAgreement | None
    categories: list[CategoryAgreement]
    people: list[PeopleAgreement]
    gold: list[PersonQuality]


def report(workspace: Workspace, name: str) -> AgreementReport:
    """How people judge a dataset.

    Raises:
        Forbidden: Whoever acts may not see how others judge.
        NotFoundError: There is no such dataset.
    """
    rights.require(Right.ADJUDICATE)
    with workspace.database.read() as session:
        dataset = find_dataset(session, name)
        said = agreement.of_panels(session, dataset.id)
        known = agreement.of_gold(session, dataset.id)
        categories = {row.id: row.name for row in datasets.categories(session, dataset.id)}
        names = panels.names(session, sorted({one.annotator_id for one in (*said, *known)}))
    by_category: dict[int, list[Said]] = defaultdict(list)
    for one in said:
        by_category[one.category_id].append(one)
    rows = [
        _category(categories[id_], by_category[id_]) for id_ in categories if id_ in by_category
    ]
    return AgreementReport(
        overlap=dataset.overlap,
        together=_category("all together", said),
        categories=[row for row in rows if row is not None],
        people=_people(said, names),
        gold=_quality(known, names),
    )


def _category(name: str, said: Iterable[Said]) -> CategoryAgreement | None:
    by_pair: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])
    for one in said:
        by_pair[one.image_id, one.category_id][one.present] += 1
    counts = np.array([row for row in by_pair.values() if sum(row) > 1]).reshape(-1, 2)  # [n, 2]
    if not len(counts):
        return None
    raters = counts.sum(1)
    usual, _ = Counter(raters.tolist()).most_common(1)[0]
    same = int((counts.max(1) == raters).sum())
    low, high = wilson(same, len(counts))
    return CategoryAgreement(
        category=name,
        pairs=len(counts),
        verdicts=int(raters.sum()),
        unanimous=same / len(counts),
        low=float(low),
        high=float(high),
        fleiss=fleiss(counts[raters == usual]),
        fleiss_pairs=int((raters == usual).sum()),
        alpha=alpha(counts),
        few=len(counts) < FEW,
    )


def _people(said: Iterable[Said], names: dict[int, str]) -> list[PeopleAgreement]:
    """Two by two, those with most pairs in common first."""
    by_pair: dict[tuple[int, int], dict[int, int]] = defaultdict(dict)
    for one in said:
        by_pair[one.image_id, one.category_id][one.annotator_id] = int(one.present)
    both: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for verdicts in by_pair.values():
        for one_id, other_id in combinations(sorted(verdicts, key=names.__getitem__), 2):
            both[one_id, other_id].append((verdicts[one_id], verdicts[other_id]))
    found = []
    for (one_id, other_id), couples in both.items():
        same = sum(a == b for a, b in couples)
        low, high = wilson(same, len(couples))
        kappa = cohen([a for a, _ in couples], [b for _, b in couples])
        share, few = same / len(couples), len(couples) < FEW
        counted = (len(couples), share, float(low), float(high), kappa, few)
        found.append(PeopleAgreement(names[one_id], names[other_id], *counted))
    return sorted(found, key=lambda one: (-one.pairs, one.first, one.second))


def _quality(known: Iterable[Said], names: dict[int, str]) -> list[PersonQuality]:
    """By name."""
    by_person: dict[int, list[Said]] = defaultdict(list)
    for one in known:
        by_person[one.annotator_id].append(one)
    found = []
    for id_, said in sorted(by_person.items(), key=lambda item: names[item[0]]):
        truth = [one.answer is LabelState.PRESENT for one in said]
        missed = sum(t and not one.present for t, one in zip(truth, said, strict=True))
        invented = sum(one.present and not t for t, one in zip(truth, said, strict=True))
        n, right = len(said), len(said) - missed - invented
        low, high = wilson(right, n)
        interval = (right / n, float(low), float(high))
        found.append(PersonQuality(names[id_], n, right, *interval, missed, invented, n < FEW))
    return found
