"""The built-in descriptors tell looks apart, deterministically, and put them in their place."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from clsl_core.backbones.builtin import BuiltinBackbone
from clsl_core.pictures.loading import LocalImages
from tests.core.backbones.test_spec import check_features

BACKBONE = BuiltinBackbone()


def tokens(image: Image.Image) -> npt.NDArray[np.float32]:
    return BACKBONE.encode_images([image]).tokens[0].astype(np.float32)


def stripes(angle: float, colour: str = "white") -> Image.Image:
    image = Image.new("RGB", (448, 448), "black")
    draw = ImageDraw.Draw(image)
    for x in range(0, 448, 16):
        draw.rectangle((x, 0, x + 7, 448), fill=colour)
    return image.rotate(angle).crop((112, 112, 336, 336))


def test_shapes_and_lengths() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    images = [
        Image.fromarray(noise),
        Image.new("RGB", (1, 1)),
        Image.new("RGB", (900, 3), "white"),
        Image.new("L", (20, 20), 128),
        stripes(30),
    ]
    check_features(BACKBONE.spec, BACKBONE.encode_images(images), len(images))
    check_features(BACKBONE.spec, BACKBONE.encode_images([]), 0)


def test_a_picture_gives_the_same_numbers_in_any_batch() -> None:
    a, b = stripes(0), stripes(45, "red")
    together, alone = BACKBONE.encode_images([a, b]), BACKBONE.encode_images([b])
    assert np.array_equal(together.tokens[1], alone.tokens[0])
    assert np.array_equal(together.pooled[1], alone.pooled[0])


def test_it_reads_no_names() -> None:
    assert BACKBONE.encode_categories(["cat"]) is None
    assert not BACKBONE.spec.has_text


def test_patches_run_row_by_row_over_the_whole_picture() -> None:
    image = Image.new("RGB", (448, 224), "white")
    # The patch of row 2, column 5 of 7 × 7.
    ImageDraw.Draw(image).rectangle((5 * 64, 2 * 32, 6 * 64 - 1, 3 * 32 - 1), fill="red")
    found = tokens(image)
    plain = tokens(Image.new("RGB", (448, 224), "white"))
    same = (found * plain).sum(axis=1)
    assert int(same.argmin()) == 2 * 7 + 5
    assert same.argmin() != same.argmax()
    assert (same[:7] > 0.98).all()  # far from the square nothing changed


def test_colour_and_direction_and_grain_are_told_apart() -> None:
    centre = 24
    red, blue = tokens(stripes(0, "red"))[centre], tokens(stripes(0, "blue"))[centre]
    flat, tilted = tokens(stripes(0))[centre], tokens(stripes(90))[centre]
    slow = tokens(stripes(0).filter(ImageFilter.GaussianBlur(4)))[centre]
    for one, other in ((red, blue), (flat, tilted), (flat, slow)):
        assert one @ other < 0.95
        assert one @ one > 0.99


def test_brightness_matters_less_than_content() -> None:
    bright, dim = stripes(0, "red"), stripes(0, "red").point(lambda value: int(value * 0.85))
    other = stripes(90, "red")
    a, b, c = (BACKBONE.encode_images([x]).pooled[0].astype(float) for x in (bright, dim, other))
    assert a @ b > a @ c


def test_real_photographs_find_themselves_mirrored(coco_a: Path) -> None:
    names = sorted(path.name for path in (coco_a / "images").iterdir())[:30]
    images = [LocalImages(coco_a / "images").load(name) for name in names]
    mirrored = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in images]
    one = BACKBONE.encode_images(images).pooled.astype(np.float32)
    two = BACKBONE.encode_images(mirrored).pooled.astype(np.float32)
    assert ((one @ two.T).argmax(axis=1) == np.arange(30)).mean() > 0.9
