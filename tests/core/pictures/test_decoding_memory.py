"""Hostile pictures: small files that want gigabytes get far less, however many ask at once."""

import io
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from clsl_core.errors import ImageError
from clsl_core.pictures.budget import PixelBudget
from clsl_core.pictures.loading import LocalImages

SIDE = 9990
"""Just under the hundred million pixels that are allowed."""
MEGABYTES = 1000

HOSTILE = {
    "one.png": ("1", {}),
    "grey.png": ("L", {}),
    "colour.png": ("RGB", {"compress_level": 1}),
    "clear.png": ("RGBA", {"compress_level": 1}),
    "deep.tif": ("I;16", {"compression": "tiff_deflate"}),
    "float.tif": ("F", {"compression": "tiff_deflate"}),
    "wide.tif": ("I", {"compression": "tiff_deflate"}),
    "progressive.jpg": ("RGB", {"progressive": True}),
    "palette.gif": ("P", {}),
}

MEASURE = """
import sys, threading
from pathlib import Path
from clsl_core.errors import ImageError
from clsl_core.pictures.loading import LocalImages, thumbnail

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024

images, name = LocalImages(Path(sys.argv[1])), sys.argv[2]
idle = peak()

def draw(size):
    try:
        assert len(thumbnail(images.load(name, at_least=size), size)) > 20
    except ImageError as error:
        assert error.reason == "too-large", error

threads = [threading.Thread(target=draw, args=(size,)) for size in (480, 960, 1920)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(peak() - idle)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak")
@pytest.mark.parametrize("name", [*HOSTILE, "lossless.webp", "half.webp"])
def test_three_sizes_at_once_take_less_than_a_gigabyte(folder: Path, name: str) -> None:
    if name.endswith(".webp"):
        side = SIDE if name == "lossless.webp" else 7070
        Image.new("L", (side, side)).save(folder / name, lossless=True, method=0)
    else:
        mode, options = HOSTILE[name]
        Image.new(mode, (SIDE, SIDE)).save(folder / name, **options)
    command = [sys.executable, "-c", MEASURE, str(folder), name]
    root = Path(__file__).parents[3]
    found = subprocess.run(
        command, cwd=root, check=True, capture_output=True, text=True, env={"PYTHONPATH": str(root)}
    )
    (folder / name).unlink()
    print(name, found.stdout.strip(), "MB")
    assert int(found.stdout) < MEGABYTES


def test_what_its_decoder_holds_several_times_may_have_half_as_many_pixels(tmp_path: Path) -> None:
    Image.new("L", (80, 80)).save(tmp_path / "a.webp", lossless=True)
    Image.new("L", (80, 80)).save(tmp_path / "a.png")
    images = LocalImages(tmp_path, max_pixels=10_000)
    assert images.load("a.png").size == (80, 80)
    with pytest.raises(ImageError, match="more than the 5,000 pixels allowed in WEBP") as told:
        images.load("a.webp")
    assert told.value.reason == "too-large"


def test_a_long_and_narrow_picture_comes_smaller_too(tmp_path: Path) -> None:
    Image.new("1", (60_000, 1_000)).save(tmp_path / "a.png")
    width, height = LocalImages(tmp_path).load("a.png", at_least=2_000).size
    assert width * height <= 16_000_000


def test_together_they_stay_within_the_budget() -> None:
    budget, now, most, lock = PixelBudget(10), [0], [0], threading.Lock()

    def work(pixels: int) -> None:
        with budget.take(pixels):
            with lock:
                now[0] += min(pixels, 10)
                most[0] = max(most[0], now[0])
            time.sleep(0.005)
            with lock:
                now[0] -= min(pixels, 10)

    threads = [threading.Thread(target=work, args=(n % 7 * 3,)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 5 <= most[0] <= 10


def test_a_fault_gives_its_share_back() -> None:
    budget = PixelBudget(10)
    for _ in range(3):
        with pytest.raises(io.UnsupportedOperation), budget.take(10):
            raise io.UnsupportedOperation
    with budget.take(10):
        pass
