"""Pictures: what is opened, what is refused, and what comes out upright and RGB."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from clsl_core.errors import ImageError, UnsafePathError
from clsl_core.pictures import colours
from clsl_core.pictures.colours import to_rgb
from clsl_core.pictures.loading import LocalImages, MemoryImages, thumbnail


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def noise(width: int = 40, height: int = 30, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def load(content: bytes) -> Image.Image:
    return MemoryImages({"x": content}).load("x")


def reason(content: bytes, max_pixels: int = 10_000) -> str:
    with pytest.raises(ImageError) as caught:
        MemoryImages({"bad.jpg": content}, max_pixels).load("bad.jpg")
    assert "bad.jpg" in str(caught.value)
    return caught.value.reason


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    noise().save(root / "a" / "one.png")
    noise(seed=1).save(tmp_path / "secret.png")
    return root


@pytest.mark.parametrize(
    "name",
    [
        "",
        "  ",
        "/etc/passwd",
        "../secret.png",
        "a/../../secret.png",
        "..\\secret.png",
        "a\\..\\..\\secret.png",
        "C:\\secret.png",
        "c:/secret.png",
        "\\\\server\\share\\x.png",
        "//server/share/x.png",
        "\\x.png",
        "a\x00.png",
    ],
)
def test_a_name_that_could_leave_the_folder_is_refused(folder: Path, name: str) -> None:
    for loader in (LocalImages(folder), MemoryImages({})):
        with pytest.raises(UnsafePathError):
            loader.load(name)


def test_a_link_out_of_the_folder_is_refused_and_one_inside_is_followed(folder: Path) -> None:
    (folder / "out.png").symlink_to(folder.parent / "secret.png")
    (folder / "up").symlink_to(folder.parent)
    (folder / "in.png").symlink_to(folder / "a" / "one.png")
    loader = LocalImages(folder)
    for name in ("out.png", "up/secret.png"):
        with pytest.raises(UnsafePathError):
            loader.resolve(name)
    assert loader.resolve("in.png") == (folder / "a" / "one.png").resolve()


class Raced(LocalImages):
    """Somebody swaps the folder for a link between the check and the use."""

    def resolve(self, file_name: str) -> Path:
        path = super().resolve(file_name)
        path.parent.rename(path.parent.with_name("moved"))
        path.parent.symlink_to(path.parent.parent.parent / "outside")
        return path


@pytest.mark.parametrize("name", ["a/one.png", "a/b/one.png"])
def test_a_folder_swapped_for_a_link_does_not_reach_outside(folder: Path, name: str) -> None:
    for place in (folder / "a" / "b", folder.parent / "outside", folder / "outside"):
        place.mkdir()
        noise(7, 7).save(place / "one.png")
    for call in ("load", "fingerprint", "header"):
        with pytest.raises(ImageError):
            getattr(Raced(folder), call)(name)
        swapped = (folder / name).parent
        swapped.unlink()
        swapped.with_name("moved").rename(swapped)


def test_a_root_reached_through_a_link_works(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(folder)
    assert LocalImages(tmp_path / "alias").check("a/one.png") == (40, 30)


def test_backslashes_separate_folders_unless_a_file_has_that_very_name(folder: Path) -> None:
    loader = LocalImages(folder)
    assert loader.resolve("a\\one.png") == (folder / "a" / "one.png").resolve()
    noise(8, 9).save(folder / "a\\one.png")
    assert loader.check("a\\one.png") == (8, 9)


def test_pipes_folders_and_loops_are_refused_without_waiting(folder: Path) -> None:
    os.mkfifo(folder / "pipe.png")
    (folder / "loop").symlink_to(folder / "loop")
    loader = LocalImages(folder)
    expected = {
        "pipe.png": "not-an-image",
        "a": "not-an-image",
        ".": "not-an-image",
        "loop": "unreadable",
        "x" * 5000: "unreadable",
        "nowhere.png": "missing",
        "a/one.png/deeper": "missing",
        "\ud800.png": "missing",
    }
    for name, word in expected.items():
        for call in (loader.load, loader.fingerprint):
            with pytest.raises(ImageError) as caught:
                call(name)
            assert caught.value.reason == word, name


def test_fingerprint_changes_with_the_file(folder: Path) -> None:
    loader = LocalImages(folder)
    before = loader.fingerprint("a/one.png")
    size, mtime = before.split("-")
    assert int(size) == (folder / "a" / "one.png").stat().st_size
    os.utime(folder / "a" / "one.png", ns=(0, int(mtime) + 1))
    assert loader.fingerprint("a/one.png") != before
    memory = MemoryImages({"a": b"1", "b": b"2", "c": noise()})
    assert len({memory.fingerprint(name) for name in "abc"}) == 3


def test_missing_picture_in_memory() -> None:
    with pytest.raises(ImageError, match="nope") as caught:
        MemoryImages({}).fingerprint("nope")
    assert caught.value.reason == "missing"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation: int) -> None:
    # Quadrants of known colour; the reference is Pillow's own transposition.
    image = noise(6, 4)
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = load(encoded(image, exif=exif))
    reference = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded(image, exif=exif))))
    assert reference is not None
    assert turned.size == reference.size
    assert np.array_equal(np.asarray(turned), np.asarray(reference))
    assert turned.size == ((4, 6) if orientation >= 5 else (6, 4))


def test_a_damaged_exif_block_does_not_lose_the_picture() -> None:
    assert load(encoded(noise(6, 4), "JPEG", exif=b"Exif\x00\x00garbage")).size == (6, 4)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "GIF", "WEBP", "AVIF", "BMP", "PPM"])
def test_every_mode_a_format_can_hold_becomes_rgb(kind: str) -> None:
    held = 0
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK", "F", "I"):
        try:
            content = encoded(Image.new(mode, (12, 10)), kind)
        except (OSError, ValueError, KeyError):
            continue  # the format has no such mode
        held += 1
        result = load(content)
        assert (result.mode, result.size) == ("RGB", (12, 10)), mode
    assert held >= 4


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    for content in (
        encoded(Image.fromarray(ramp)),
        encoded(Image.fromarray(ramp), "TIFF"),
        encoded(Image.fromarray(ramp.astype(np.int32)), "TIFF"),
        encoded(Image.fromarray((ramp / 65535).astype(np.float32)), "TIFF"),
    ):
        grey = np.asarray(load(content))[..., 0].astype(int)
        assert np.abs(grey.ravel() - np.arange(256)).max() <= 1


@pytest.mark.parametrize("low", [0, 100, 40_000])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_deep_greys_that_use_little_of_their_range_are_stretched(bits: int, low: int) -> None:
    ramp = low + np.linspace(0, min(2**bits, 2**16 - low) - 1, 256).astype(np.int64)
    values = ramp.reshape(16, 16)
    for content in (
        encoded(Image.fromarray(values.astype(np.uint16))),
        encoded(Image.fromarray(values.astype(np.uint16)), "TIFF"),
        encoded(Image.fromarray((values / 65535).astype(np.float32)), "TIFF"),
    ):
        grey = np.asarray(load(content))[..., 0].astype(int).ravel()
        assert (np.diff(grey) >= 0).all()
        if bits < 14:
            assert np.abs(grey - np.arange(256)).max() <= 1
        assert grey[-1] - grey[0] >= 60


def test_one_grey_alone_is_no_range() -> None:
    for value in (0, 3, 4095, 65535):
        content = encoded(Image.fromarray(np.full((4, 4), value, np.uint16)))
        assert np.asarray(load(content))[0, 0, 0] == round(value / 257)
    below = encoded(Image.fromarray(np.full((4, 4), -5.0, np.float32)), "TIFF")
    assert np.asarray(load(below)).max() == 0


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
@pytest.mark.parametrize("size", [(70, 30), (1, 90), (301, 1), (64, 64)])
def test_strips_and_factors_change_nothing(
    mode: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = noise(*size)
    picture = picture.convert("L").convert(mode) if mode[0] in "IF" else picture.convert(mode)
    whole = {factor: np.asarray(to_rgb(picture, factor)) for factor in (1, 3)}
    assert whole[1].shape == (size[1], size[0], 3)
    assert (whole[3] == np.asarray(to_rgb(picture).reduce(3))).all()
    monkeypatch.setattr(colours, "STRIP", 100)
    for factor, expected in whole.items():
        assert (np.asarray(to_rgb(picture, factor)) == expected).all()


def test_wide_and_broken_numbers_still_give_a_picture() -> None:
    values = np.array([[-5.0, np.nan], [np.inf, 1e9]], np.float32)
    grey = np.asarray(load(encoded(Image.fromarray(values), "TIFF")))[..., 0]
    assert (grey.min(), grey.max()) == (0, 255)
    small = np.array([[0, 200]], np.int32)
    assert np.asarray(load(encoded(Image.fromarray(small), "TIFF")))[0, 1, 0] == 200


def test_transparency_lies_on_white() -> None:
    rgba = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    half = Image.new("LA", (4, 4), (0, 128))
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([0, 0, 255])
    assert load(encoded(rgba)).getpixel((0, 0)) == (255, 255, 255)
    assert load(encoded(half)).getpixel((0, 0)) == (127, 127, 127)
    for options in ({"transparency": 0}, {"transparency": b"\x00"}):
        assert load(encoded(palette, **options)).getpixel((0, 0)) == (255, 255, 255)
    assert load(encoded(palette)).getpixel((0, 0)) == (0, 0, 255)


def test_cmyk_jpeg_keeps_its_colours() -> None:
    red = Image.new("RGB", (16, 16), (200, 30, 30)).convert("CMYK")
    pixel = load(encoded(red, "JPEG")).getpixel((8, 8))
    assert isinstance(pixel, tuple)
    assert np.abs(np.array(pixel) - (200, 30, 30)).max() < 12


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert load(content).getpixel((4, 4)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "AVIF"])
def test_a_file_cut_anywhere_gives_an_image_error(kind: str) -> None:
    content = encoded(noise(), kind)
    for part in (0.1, 0.3, 0.5, 0.9):
        assert reason(content[: int(len(content) * part)]) in (
            "truncated",
            "unreadable",
            "not-an-image",
        )


def test_reasons() -> None:
    assert reason(b"") == "empty"
    assert reason(b"hello, this is text") == "not-an-image"
    assert reason(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") == "not-an-image"
    assert reason(encoded(noise(), "JPEG")[:-400]) == "truncated"
    assert reason(encoded(noise())[:-400]) == "truncated"
    assert reason(encoded(Image.new("RGB", (101, 100)))) == "too-large"


def test_random_damage_never_raises_anything_else() -> None:
    random = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"):
        original = encoded(noise(), kind)
        for _ in range(60):
            content = bytearray(original)
            for position in random.integers(0, len(content), 4):
                content[position] = random.integers(256)
            try:
                assert load(bytes(content)).mode == "RGB"
            except ImageError as error:
                assert error.reason  # noqa: PT017 - either outcome is right


def test_a_decompression_bomb_is_refused_from_its_header() -> None:
    def chunk(name: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + check

    limit = Image.MAX_IMAGE_PIXELS
    for side in (9_700, 12_000, 60_000):  # warned of, allowed by nobody, refused by Pillow
        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))
        assert reason(content) == "too-large"
    assert limit == Image.MAX_IMAGE_PIXELS


def test_thumbnail_fits_and_never_enlarges() -> None:
    for size, expected in (((400, 100), (64, 16)), ((30, 20), (30, 20)), ((5, 4000), (1, 64))):
        small = Image.open(io.BytesIO(thumbnail(Image.new("RGB", size, "green"), 64)))
        assert (small.format, small.size) == ("WEBP", expected)
        assert small.convert("RGB").getpixel((0, 0))[1] > 100  # type: ignore[index]


def test_real_photographs(coco_a: Path) -> None:
    loader = LocalImages(coco_a / "images")
    name = min(path.name for path in (coco_a / "images").iterdir())
    assert loader.load(name).size == loader.check(name)
    assert max(loader.check(name)) <= 480


def test_a_jpeg_may_be_decoded_smaller_but_never_too_small() -> None:
    images = MemoryImages({"a.jpg": encoded(noise(640, 480), "JPEG"), "a.png": noise(640, 480)})
    assert images.load("a.jpg", at_least=240).size == (320, 240)
    assert images.load("a.jpg", at_least=241).size == (640, 480)
    assert images.load("a.jpg", at_least=4_000).size == (640, 480)
    assert images.load("a.png", at_least=240).size == (640, 480)
    with pytest.raises(ImageError, match="cut off"):
        MemoryImages({"a.jpg": encoded(noise(640, 480), "JPEG")[:-400]}).load("a.jpg", 100)
