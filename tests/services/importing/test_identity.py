"""What belongs together in two files, told from names, pictures and ids alone."""

from __future__ import annotations

from collections.abc import Collection

from hypothesis import given
from hypothesis import strategies as st

from app.services.importing.identity import (
    Match,
    StoredCategory,
    StoredImage,
    free_ids,
    match_categories,
    match_images,
)
from clsl_core.types import CategoryRecord, ImageRecord, SourceId

ids = st.integers(0, 6) | st.sampled_from(["1", "x", "y"])
words = st.sampled_from(["cat", "Cat", "dog", "traffic light", "traffic_light", "Zürich"])
matches = st.sampled_from(Match)


class Folder:
    """Pictures by their path: the content of each, now and before."""

    def __init__(self, now: dict[str, str], before: dict[str, str]) -> None:
        self._now, self._before = now, before

    def stated(self, file_name: str) -> str:
        return file_name

    def fingerprint(self, file_name: str) -> str | None:
        found = self._now.get(file_name)
        return None if found is None else f"{len(found)}-{found}"

    def same(self, one: str, other: str) -> bool | None:
        found = self._now.get(one), self._now.get(other)
        return None if None in found else found[0] == found[1]

    def replaced(self, file_name: str) -> tuple[str, str] | None:
        before, now = self._before.get(file_name), self._now.get(file_name)
        differ = before is not None and now is not None and before != now
        return ("before", "now") if differ else None

    def digest(self, file_name: str) -> str | None:
        return self._now.get(file_name)

    def digest_before(self, file_name: str, sizes: Collection[str]) -> str | None:
        found = self._before.get(file_name)
        return found if found is not None and str(len(found)) in sizes else None


def stored_category(row: int, id_: SourceId, *names: str) -> StoredCategory:
    return StoredCategory(row, id_, names, None)


@given(
    stored=st.dictionaries(ids, words, max_size=5),
    found=st.dictionaries(ids, words, max_size=5),
    how=matches,
)
def test_a_category_is_never_taken_for_another_word(
    stored: dict[SourceId, str], found: dict[SourceId, str], how: Match
) -> None:
    old = [stored_category(row, id_, name) for row, (id_, name) in enumerate(stored.items())]
    new = [CategoryRecord(id_, name, None, {}) for id_, name in found.items()]
    matched = match_categories(old, new, how)
    assert len(set(matched.known.values())) == len(matched.known)
    for one, other in matched.known.items():
        if how is Match.IDS:
            assert one == other
        else:
            spelled = [name.casefold().replace("_", " ") for name in (found[one], stored[other])]
            assert spelled[0] == spelled[1]
    assert how is Match.AUTO or not matched.undecided
    asked = {one.source_id for one in matched.undecided}
    assert not asked & matched.known.keys()
    if how is not Match.IDS:
        alone = [id_ for id_, name in found.items() if [*found.values()].count(name) == 1]
        for id_ in alone:
            if [*stored.values()].count(found[id_]) == 1:
                assert stored[matched.known[id_]] == found[id_]


paths = st.sampled_from(["a.jpg", "b.jpg", "cam/a.jpg", "cam/b.jpg", "c.png", "c.jpg"])
pictures = st.dictionaries(paths, st.sampled_from(["red", "blue", "green", "white"]))


@given(
    stored=st.dictionaries(st.integers(0, 5), paths, max_size=4),
    found=st.dictionaries(st.integers(0, 5), paths, max_size=4),
    now=pictures,
    before=pictures,
)
def test_an_image_is_taken_for_another_only_by_its_path_or_picture_or_a_moved_file(
    stored: dict[SourceId, str],
    found: dict[SourceId, str],
    now: dict[str, str],
    before: dict[str, str],
) -> None:
    old = [StoredImage(row, id_, name, None) for row, (id_, name) in enumerate(stored.items())]
    new = [ImageRecord(id_, name, None, None, {}) for id_, name in found.items()]
    matched = match_images(old, new, Match.AUTO, Folder(now, before))
    assert len(set(matched.known.values())) == len(matched.known)
    for one, other in matched.known.items():
        path, known = found[one], stored[other]
        if path == known:
            continue
        stems = {name.rpartition("/")[2].partition(".")[0] for name in (path, known)}
        moved = one == other and len(stems) == 1
        copied = known not in now and before.get(known) == now.get(path)
        assert moved or copied
        if known in now and path in now:
            assert now[known] == now[path] or {path, known} == {"c.png", "c.jpg"}


@given(
    wanted=st.lists(ids, max_size=6, unique=True),
    taken=st.lists(ids, max_size=6, unique=True),
    places=st.booleans(),
)
def test_free_ids_are_free(wanted: list[SourceId], taken: list[SourceId], places: bool) -> None:
    new = dict(free_ids(wanted, taken, places=places))
    given_ = [new.get(id_, id_) for id_ in wanted]
    assert len(set(given_)) == len(given_)
    assert not set(given_) & set(taken)
    assert places or all(id_ in taken for id_ in new)
