"""Category descriptions: files of two kinds, and their share in a category's vector."""

import json
from pathlib import Path

import numpy as np
import pytest

from clsl_core.backbones.builtin import BuiltinBackbone
from clsl_core.backbones.descriptions import blend_descriptions, read_descriptions
from clsl_core.backbones.spec import FakeBackbone
from clsl_core.errors import BackboneError, InputError

FOUND = {"cat": ["a pet, with whiskers", "has paws"], "日本": ["a country"]}


def write(folder: Path, text: str) -> Path:
    file = folder / "said.txt"
    file.write_text(text, "utf-8")
    return file


@pytest.mark.parametrize(
    "text",
    [
        'category,description\ncat,"a pet, with whiskers"\n日本,a country\ncat,has paws\n',
        '\ufeffnote,description,category\nx,"a pet, with whiskers",cat\ny, has paws ,cat\n'
        "z,has paws,cat\n,a country,日本\n",
        json.dumps({"cat": FOUND["cat"], "日本": "a country"}),
        json.dumps([{"category": c, "description": d} for c, said in FOUND.items() for d in said]),
    ],
)
def test_both_kinds_of_file_say_the_same(tmp_path: Path, text: str) -> None:
    assert read_descriptions(write(tmp_path, text)) == FOUND


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name,text\ncat,x\n", "found the columns name, text"),
        ("", "of an empty file"),
        ("category,description\n", "holds no description"),
        ("category,description\ncat,a\ndog,\n", "line 3: the category or its description is empty"),
        ("category,description\ncat\n", "line 2: a category and a description must be texts"),
        ('{"cat": 3}', "category 'cat': a category and a description must be texts"),
        ('[{"category": "cat"}]', "entry 0: expected an object"),
        ('{"cat": ', "is no JSON"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        read_descriptions(write(tmp_path, text))


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "x", tmp_path / "absent", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_descriptions(path)


def test_a_vector_is_half_its_name_and_half_its_descriptions() -> None:
    backbone, names = FakeBackbone(), ["cat", "dog", "日本"]
    vectors = backbone.encode_categories(names)
    assert vectors is not None
    found = blend_descriptions(backbone, names, vectors, {**FOUND, "bird": ["flies"]})
    said = backbone.encode_texts(FOUND["cat"])
    assert said is not None
    mean = said.mean(0) / np.linalg.norm(said.mean(0))
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert np.isclose(found[0] @ vectors[0], found[0] @ mean, atol=1e-6)
    assert np.array_equal(found[1], vectors[1])
    assert not np.allclose(found[0], vectors[0], atol=1e-3)
    assert blend_descriptions(backbone, names, vectors, {"bird": ["flies"]}) is vectors


def test_a_backbone_without_texts_says_so() -> None:
    with pytest.raises(BackboneError, match="reads no texts"):
        blend_descriptions(BuiltinBackbone(), ["cat"], np.ones((1, 3), np.float32), FOUND)
