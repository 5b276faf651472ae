"""The feature store keeps whole shards only, notices damage and refuses another backbone."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clsl_core.backbones.spec import BackboneSpec, ImageFeatures
from clsl_core.errors import FeatureStoreError
from clsl_core.features import FeatureStore, FeatureView

SPEC = BackboneSpec(
    name="tiny", pretrained=None, image_size=8, grid=(2, 3), dim=4, has_text=False, revision="1"
)


def make_features(count: int, seed: int = 0) -> ImageFeatures:
    rng = np.random.default_rng(seed)
    return ImageFeatures(
        tokens=rng.normal(size=(count, 6, 4)).astype(np.float16),
        pooled=rng.normal(size=(count, 4)).astype(np.float16),
    )


def make_store(directory: Path) -> FeatureStore:
    store = FeatureStore.open(directory, SPEC)
    store.append(["a", "b", "c"], make_features(3, seed=1))
    store.append(["d", "e"], make_features(2, seed=2))
    return store


def test_gather_returns_the_features_in_the_order_asked(tmp_path: Path) -> None:
    make_store(tmp_path)
    first, second = make_features(3, seed=1), make_features(2, seed=2)
    view = FeatureStore.open(tmp_path, SPEC).gather(["e", "a", "c", "d"])
    tokens = np.stack([second.tokens[1], first.tokens[0], first.tokens[2], second.tokens[0]])
    assert len(view) == 4
    assert view.spec == SPEC
    np.testing.assert_array_equal(view.tokens([0, 1, 2, 3]), tokens)
    np.testing.assert_array_equal(view.tokens([3, 0]), tokens[[3, 0]])
    np.testing.assert_array_equal(view.pooled()[0], second.pooled[1].astype(np.float32))
    assert view.pooled().dtype == np.float32
    assert view.tokens([1]).dtype == np.float16


def test_missing_names_new_keys_once_in_order(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    assert store.missing(["z", "a", "y", "z", "e"]) == ["z", "y"]
    assert len(store) == 5
    assert "a" in store


def test_only_new_keys_are_stored(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    before = store.gather(["b"]).tokens([0])
    store.append(["b", "f"], make_features(2, seed=3))
    assert len(store) == 6
    np.testing.assert_array_equal(store.gather(["b"]).tokens([0]), before)
    np.testing.assert_array_equal(store.gather(["f"]).tokens([0])[0], make_features(2, 3).tokens[1])
    store.append(["b", "f"], make_features(2, seed=4))
    assert len(list(tmp_path.glob("shard-*-tokens.npy"))) == 3


def test_two_writers_do_not_overwrite_each_other(tmp_path: Path) -> None:
    one, two = FeatureStore.open(tmp_path, SPEC), FeatureStore.open(tmp_path, SPEC)
    one.append(["a"], make_features(1, seed=1))
    two.append(["b"], make_features(1, seed=2))
    both = FeatureStore.open(tmp_path, SPEC).gather(["a", "b"])
    np.testing.assert_array_equal(both.tokens([0]), make_features(1, seed=1).tokens)
    np.testing.assert_array_equal(both.tokens([1]), make_features(1, seed=2).tokens)


def test_gather_names_keys_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(FeatureStoreError, match=r"2 of 3 images.*nowhere, gone"):
        make_store(tmp_path).gather(["a", "nowhere", "gone"])


def test_gather_of_nothing_is_empty(tmp_path: Path) -> None:
    view = make_store(tmp_path).gather([])
    assert view.tokens([]).shape == (0, 6, 4)
    assert view.pooled().shape == (0, 4)


@pytest.mark.parametrize("change", [{"dim": 5}, {"grid": (3, 2)}, {"revision": "2"}])
def test_another_backbone_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    make_store(tmp_path)
    with pytest.raises(FeatureStoreError, match="another backbone"):
        FeatureStore.open(tmp_path, replace(SPEC, **change))


@pytest.mark.parametrize("content", [None, "{ not json"])
def test_a_store_without_a_readable_spec_is_refused(tmp_path: Path, content: str | None) -> None:
    make_store(tmp_path)
    (tmp_path / "spec.json").unlink()
    if content is not None:
        (tmp_path / "spec.json").write_text(content)
    with pytest.raises(FeatureStoreError, match=r"spec\.json is missing or unreadable"):
        FeatureStore.open(tmp_path, SPEC)


def test_a_process_killed_in_the_middle_leaves_whole_shards_only(tmp_path: Path) -> None:
    make_store(tmp_path)
    (tmp_path / "shard-00002-tokens.npy").write_bytes(b"whole or not, nobody knows")
    (tmp_path / "shard-00002-pooled.npy.99.partial").write_bytes(b"half")
    store = FeatureStore.open(tmp_path, SPEC)
    assert len(store) == 5
    assert store.verify() == []
    store.append(["f"], make_features(1, seed=5))
    np.testing.assert_array_equal(store.gather(["f"]).tokens([0]), make_features(1, 5).tokens)
    assert list(tmp_path.glob("*.partial")) == []
    assert FeatureStore.open(tmp_path, SPEC).verify() == []


def test_a_kill_before_the_last_rename_loses_that_shard_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path)
    rename = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if str(target).endswith(".json"):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        store.append(["f"], make_features(1))
    monkeypatch.undo()
    again = FeatureStore.open(tmp_path, SPEC)
    assert again.missing(["a", "f"]) == ["f"]
    assert again.verify() == []


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("array", ["tokens", "pooled"])
def test_a_flipped_byte_is_found_and_its_shard_can_be_dropped(tmp_path: Path, array: str) -> None:
    store = make_store(tmp_path)
    flip_a_byte(tmp_path / f"shard-00000-{array}.npy")
    (message,) = store.verify()
    assert f"shard-00000-{array}.npy" in message
    assert "sha256" in message
    assert store.drop_damaged() == [message]
    assert store.missing(["a", "d"]) == ["a"]
    assert store.verify() == []
    store.append(["a"], make_features(1, seed=7))
    np.testing.assert_array_equal(store.gather(["a"]).tokens([0]), make_features(1, 7).tokens)


def test_a_shard_whose_keys_are_unreadable_counts_as_missing(tmp_path: Path) -> None:
    make_store(tmp_path)
    (tmp_path / "shard-00001.json").write_text('{"keys": ')
    store = FeatureStore.open(tmp_path, SPEC)
    assert store.missing(["a", "d"]) == ["d"]
    assert store.verify() == ["shard-00001: its list of keys is unreadable"]
    store.append(["d"], make_features(1, seed=8))
    store.drop_damaged()
    assert store.verify() == []
    assert store.missing(["d"]) == []


def test_a_shard_cut_short_or_gone_says_what_to_do(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    os.truncate(tmp_path / "shard-00000-tokens.npy", 40)
    with pytest.raises(FeatureStoreError, match="drop the damaged shards"):
        store.gather(["a"]).tokens([0])
    (tmp_path / "shard-00001-pooled.npy").unlink()
    assert len(store.verify()) == 2


@pytest.mark.parametrize(
    ("keys", "features", "message"),
    [
        (["a"], make_features(2), "expected"),
        (["a", "a"], make_features(2), "must differ"),
        (
            ["a"],
            ImageFeatures(np.full((1, 6, 4), np.nan, np.float16), np.zeros((1, 4), np.float16)),
            "not finite",
        ),
    ],
)
def test_features_that_do_not_fit_are_refused(
    tmp_path: Path, keys: list[str], features: ImageFeatures, message: str
) -> None:
    store = FeatureStore.open(tmp_path, SPEC)
    with pytest.raises(FeatureStoreError, match=message):
        store.append(keys, features)
    assert len(FeatureStore.open(tmp_path, SPEC)) == 0


def test_a_view_of_arrays_pools_and_guesses_a_square_grid() -> None:
    tokens = np.random.default_rng(0).normal(size=(5, 9, 4))
    view = FeatureView.from_arrays(tokens)
    assert view.grid == (3, 3)
    assert view.dim == 4
    np.testing.assert_allclose(np.linalg.norm(view.pooled(), axis=1), 1, rtol=1e-5)
    assert FeatureView.from_arrays(tokens[:, :6]).grid == (1, 6)
    with pytest.raises(FeatureStoreError, match="do not fit together"):
        FeatureView.from_arrays(tokens, grid=(2, 2))
