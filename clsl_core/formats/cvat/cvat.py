"""CVAT for images, XML 1.1: ``<image>`` with ``<tag>``, ``<box>``, ``<polygon>`` and other shapes.

Every element with a ``label`` says that its category is present; one whose ``source`` is ``auto``
was made by a model and is a proposal. An image is known by its name, as its id is only its place in
a task. Absent categories and provenance are told in the sidecar.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from clsl_core.files import atomic_text
from clsl_core.formats import sidecar
from clsl_core.formats.boxes import Shape, by_image
from clsl_core.formats.conversion import (
    Pair,
    category_names,
    checked_labels,
    known_labels,
    named_images,
)
from clsl_core.formats.cvat.document import Node, Piece, read_document
from clsl_core.formats.findings import Findings
from clsl_core.formats.registry import Absent
from clsl_core.formats.set_builder import SetBuilder
from clsl_core.formats.text.folder_source import is_folder
from clsl_core.formats.text.xml_source import xml_text
from clsl_core.types import (
    AnnotationRecord,
    AnnotationSet,
    ImageRecord,
    JsonObject,
    LabelRecord,
    LabelState,
    Progress,
    SourceId,
    ValidationReport,
    no_progress,
)

__all__ = ["FILE", "read", "write"]

FILE = "annotations.xml"
_MODEL = "automatic annotation"
_SHAPES = frozenset(
    ("tag", "box", "polygon", "polyline", "points", "ellipse", "mask", "cuboid", "skeleton")
)


def read(
    path: Path, *, absent: Absent = "unknown", progress: Progress = no_progress
) -> tuple[AnnotationSet, ValidationReport]:
    """Read an export of the kind "CVAT for images 1.1".

    Args:
        path: The XML file, or the folder that holds ``annotations.xml``.
        absent: What a category is that no element of an image names.
        progress: Told the images read so far.

    Raises:
        FormatError: With the report of all problems, when there is at least one error.
    """
    findings = Findings(path.name)
    file = path / FILE if is_folder(path) else path
    document = read_document(file, findings)
    if tracks := Counter(node.name for node in document.others):
        found = ", ".join(f"<{name:.40}> ({count:,})" for name, count in tracks.most_common(5))
        message = f"{found} beside the images: a video's; export as CVAT for images"
        findings.error("not-images", "file", message)
    builder = SetBuilder("cvat", findings)
    for label in document.meta.below("label") if document.meta else ():
        name = next((one.text.strip() for one in label.children if one.name == "name"), "")
        if name:
            builder.category(f"line {label.line}", name)
    odd: Counter[str] = Counter()
    for done, piece in enumerate(document.pieces):
        if done % 500 == 0:
            progress(done, len(document.pieces), "reading images")
        _read_image(piece, builder, odd, findings)
    if odd:
        kinds = ", ".join(f"<{kind:.40}> ({count:,})" for kind, count in odd.most_common(10))
        findings.warn("not-understood", "file", f"elements that give no labels, kept: {kinds}")
    header = {"head": document.head, "tail": document.tail}
    return builder.finish(header, absent, file)


def _read_image(piece: Piece, builder: SetBuilder, odd: Counter[str], findings: Findings) -> None:
    node = piece.node
    where, name = f"line {node.line}", node.attributes.get("name")
    if name in builder.images:
        message = f"the image {name!a:.200} occurs twice; keep one of the two, or rename one"
        findings.error("duplicate-image", where, message)
        return
    record: JsonObject = {"file_name": name, "xml": piece.raw, "places": _places(node)}
    if subset := node.attributes.get("subset"):
        record["split"] = subset
    sides = (_side(node, "width"), _side(node, "height"))
    image = builder.image(where, name, record, size=sides)
    for child in node.children if image is not None else ():
        label = child.attributes.get("label")
        if child.name not in _SHAPES or label is None:
            odd[child.name] += 1
            continue
        place = f"line {child.line}"
        category = builder.category(place, label)
        if image is None or category is None:
            continue
        said = LabelRecord(image, category, LabelState.PRESENT)
        if child.attributes.get("source") == "auto":
            builder.proposals.append(replace(said, source="model", model_run=_MODEL))
            continue
        builder.labels[image, category] = said
        shape = _shape(child)
        if shape:
            kept = {"image": image, "number": len(builder.annotations), **shape}
            builder.annotations.append(AnnotationRecord(None, image, category, kept))


def _places(node: Node) -> list[list[object]]:
    """Label, first and last byte of each element, so that what is rejected can be cut out."""
    return [
        [child.attributes.get("label"), child.start, child.end]
        for child in node.children
        if child.name in _SHAPES and child.attributes.get("source") != "auto"
    ]


def _side(node: Node, name: str) -> int | None:
    text = node.attributes.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 10 else None


def _shape(node: Node) -> JsonObject:
    """The box of an element, and its outline; empty where it has none."""
    corners = _floats(node.attributes.get(key) for key in ("xtl", "ytl", "xbr", "ybr"))
    if node.name == "box" and corners:
        left, top, right, bottom = corners
        return {"bbox": [left, top, right - left, bottom - top]}
    if node.name == "ellipse":
        found = _floats(node.attributes.get(key) for key in ("cx", "cy", "rx", "ry"))
        if found:
            x, y, across, down = found
            return {"bbox": [x - across, y - down, 2 * across, 2 * down]}
    points = node.attributes.get("points", "").replace(";", ",").split(",")
    values = _floats(points) if node.name == "polygon" else None
    if not values or len(values) < 6 or len(values) % 2:
        return {}
    xs, ys = values[::2], values[1::2]
    box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    return {"bbox": box, "segmentation": [values]}


def _floats(texts: Iterable[str | None]) -> list[float] | None:
    try:
        values = [float(text or "") for text in texts]
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) else None


def write(
    annotation_set: AnnotationSet,
    new_labels: Iterable[LabelRecord],
    output: Path,
    *,
    summary: JsonObject,
) -> None:
    """Write the document as it was; what is new becomes a ``<tag>``, what was rejected goes.

    Args:
        annotation_set: What a reader gave.
        new_labels: The labels to add.
        output: Replaced only when everything was written.
        summary: What the export contains.

    Raises:
        InputError: When a label names what the set does not have, two images share a file name,
            or ``output`` cannot be written.
    """
    new = checked_labels(annotation_set, new_labels)
    if annotation_set.format == "cvat":
        told, text = list(new.values()), _kept(annotation_set, new)
    else:
        text, told = _fresh(annotation_set, new)
    sidecar.prepare(output)
    with atomic_text(output) as stream:
        for part in text:
            stream.write(part.encode("utf-8", "replace").decode())
    sidecar.write(annotation_set, told, output, summary)


def _kept(content: AnnotationSet, new: Mapping[Pair, LabelRecord]) -> list[str]:
    of_image: dict[SourceId, dict[str, LabelState]] = {}
    for (image, category), label in new.items():
        of_image.setdefault(image, {})[str(category)] = label.state
    parts = [str(content.header.get("head", ""))]
    for one in content.images:
        parts.append(_with_labels(one, of_image.get(one.source_id, {})))
    return [*parts, str(content.header.get("tail", ""))]


def _with_labels(image: ImageRecord, states: Mapping[str, LabelState]) -> str:
    """The text of an image with its labels changed; the same where nothing changes."""
    raw = str(image.record.get("xml", "")).encode()
    places = [tuple(place) for place in image.record.get("places") or ()]
    there = {label for label, _, _ in places}
    for label, start, end in reversed(places):
        if states.get(str(label)) is LabelState.ABSENT:
            begin = len(raw[:start].rstrip()) if raw[:start].rstrip() else start
            raw = raw[:begin] + raw[end:]
    added = [x for x, state in states.items() if state is LabelState.PRESENT and x not in there]
    text = raw.decode()
    if not added:
        return text
    tags = "".join(f"    {_tag(name)}\n" for name in added)
    stripped = text.rstrip()
    if stripped.endswith("/>"):  # the image has no element yet
        return f"{stripped[:-2].rstrip()}>\n{tags}  </image>{text[len(stripped) :]}"
    head, end, rest = text.rpartition("</image")
    return f"{head.rstrip()}\n{tags}  {end}{rest}"


def _tag(name: str) -> str:
    return f'<tag label={_quoted(name)} source="manual"></tag>'


def _quoted(text: str) -> str:
    return quoteattr(xml_text(text), {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def _fresh(
    content: AnnotationSet, new: Mapping[Pair, LabelRecord]
) -> tuple[list[str], list[LabelRecord]]:
    names, files = category_names(content), named_images(content)
    labels = known_labels(content, new)
    shapes = by_image(content, labels)
    tags: dict[SourceId, list[str]] = {}
    for (image, category), label in labels.items():
        if label.state is LabelState.PRESENT:
            tags.setdefault(image, []).append(names[category])
    heads = [f"<label><name>{escape(xml_text(name))}</name></label>" for name in names.values()]
    parts = [
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n',
        f"  <meta><task><labels>{''.join(heads)}</labels></task></meta>\n",
    ]
    for number, one in enumerate(content.images):
        drawn = [x for x in shapes.get(one.source_id, ()) if x.box is not None]
        boxed = {names[x.category_id] for x in drawn}
        lines = [_element(names[x.category_id], x, one) for x in drawn]
        lines += [_tag(name) for name in tags.get(one.source_id, ()) if name not in boxed]
        body = "".join(f"    {line}\n" for line in lines)
        parts.append(f"  {_image_tag(number, files[one.source_id], one)}\n{body}  </image>\n")
    told = [
        replace(label, image_id=files[image], category_id=names[category])
        for (image, category), label in labels.items()
        if label.source != "import" or label.state is LabelState.ABSENT
    ]
    return [*parts, "</annotations>\n"], told


def _image_tag(number: int, name: str, image: ImageRecord) -> str:
    attributes = [f'id="{number}"', f"name={_quoted(name)}"]
    split = image.record.get("split")
    if isinstance(split, str) and split:
        attributes.append(f"subset={_quoted(split)}")
    if image.width and image.height:
        attributes.append(f'width="{image.width}" height="{image.height}"')
    return f"<image {' '.join(attributes)}>"


def _element(name: str, shape: Shape, image: ImageRecord) -> str:
    common = f'label={_quoted(name)} source="manual" occluded="0"'
    if shape.outline is not None and image.width and image.height:
        sides = (image.width, image.height)
        values = [part * sides[place % 2] for place, part in enumerate(shape.outline)]
        pairs = zip(values[::2], values[1::2], strict=True)
        points = ";".join(f"{x:.6g},{y:.6g}" for x, y in pairs)
        return f'<polygon {common} points="{points}" z_order="0"></polygon>'
    x, y, width, height = shape.box or (0, 0, 0, 0)
    corners = {"xtl": x, "ytl": y, "xbr": x + width, "ybr": y + height}
    places = " ".join(f'{key}="{value:.9g}"' for key, value in corners.items())
    return f'<box {common} {places} z_order="0"></box>'
