"""The benchmark of imports: what it draws is a COCO file, and what comes out is what went in."""

import json
from pathlib import Path

import pytest

from benchmarks import import_coco
from clsl_core.formats.coco import coco


def test_a_drawn_file_is_coco(tmp_path: Path) -> None:
    import_coco.draw(tmp_path / "set.json", images=5, annotations=40)
    content, report = coco.read(tmp_path / "set.json")
    assert not report.problems
    assert (len(content.images), len(content.annotations)) == (5, 40)
    assert all(len(a.record["segmentation"][0]) >= 20 for a in content.annotations)


@pytest.mark.slow
def test_the_whole_measurement(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    sheet = tmp_path / "figures.json"
    size = ["--images", "30", "--annotations", "300"]
    import_coco.main([*size, "--folder", str(tmp_path / "work"), "--json", str(sheet)])
    figures = json.loads(sheet.read_text())
    assert figures["compare"] == {"equal": True}
    assert set(figures["ratios"]) == {"import", "export"}
    assert figures["import"]["megabytes"] > 0
