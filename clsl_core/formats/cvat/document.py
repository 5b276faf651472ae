"""A CVAT document cut at its images, so that each goes out letter by letter as it came.

A document type declaration is refused, and with it every entity that could expand or reach a file;
size and depth are bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from clsl_core.formats.findings import Findings

__all__ = ["MAX_BYTES", "Document", "Node", "Piece", "read_document"]

MAX_BYTES = 2**30
_MAX_DEPTH = 32


@dataclass(slots=True)
class Node:
    """One element with its attributes, its text, its children, and its place in the text.

    Attributes:
        start, end: Its first byte, and the first one behind it, from the piece it is in.
    """

    name: str
    attributes: dict[str, str]
    line: int
    start: int
    end: int = 0
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def below(self, name: str) -> Iterator[Node]:
        """The elements of that name in it, at any depth."""
        for child in self.children:
            if child.name == name:
                yield child
            yield from child.below(name)


@dataclass(frozen=True, slots=True)
class Piece:
    """One image: its element, and its text with the blanks before it."""

    node: Node
    raw: str


@dataclass(slots=True)
class Document:
    """A whole file.

    Attributes:
        head: The text before the first image.
        tail: The text behind the last one.
        meta: What stands before the images; None where there is nothing.
        pieces: The images.
        others: Elements beside the images, such as the tracks of a video.
    """

    head: str = ""
    tail: str = ""
    meta: Node | None = None
    pieces: list[Piece] = field(default_factory=list)
    others: list[Node] = field(default_factory=list)


def read_document(path: Path, findings: Findings) -> Document:
    """Parse a file.

    Raises:
        FormatError: When it is no CVAT document, with the report.
    """
    raw = _bytes(path, findings)
    parser = expat.ParserCreate()
    builder = _Builder(parser, raw)
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = builder.doctype
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as error:
        message = f"not XML: {expat.ErrorString(error.code)}; mend the file"
        findings.refuse("bad-xml", f"line {error.lineno}", message)
    except (LookupError, ValueError) as error:
        findings.refuse("bad-xml", f"line {parser.CurrentLineNumber}", f"not XML: {error}")
    root = builder.root
    if root is None or root.name != "annotations":
        found = "nothing" if root is None else f"<{root.name:.40}>"
        findings.refuse("not-cvat", "line 1", f"the document is {found}; expected <annotations>")
    return _cut(raw, root)


def _bytes(path: Path, findings: Findings) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            findings.refuse("too-long", "file", f"larger than {MAX_BYTES:,} bytes")
        if not path.is_file():
            findings.refuse("not-a-file", "file", f"{path} is no file")
        raw = path.read_bytes()
    except FileNotFoundError:
        findings.refuse("missing-file", "file", f"there is no file {path}")
    except (OSError, ValueError) as error:
        findings.refuse("unreadable-file", "file", f"{str(path)[:300]} cannot be opened: {error}")
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        findings.refuse("not-utf-8", "file", f"not UTF-8 text at byte {error.start:,}; save it so")
    return raw


def _cut(raw: bytes, root: Node) -> Document:
    """Cut the text at the images; what stands between two of them goes with the second."""
    found = Document()
    images = [node for node in root.children if node.name == "image"]
    found.others = [node for node in root.children if node.name not in ("image", "meta", "version")]
    found.meta = next((node for node in root.children if node.name == "meta"), None)
    position = images[0].start if images else root.end
    found.head = raw[:position].decode()
    for node in images:
        start, position = position, node.end
        found.pieces.append(Piece(_moved(node, start), raw[start:position].decode()))
    found.tail = raw[position:].decode()
    return found


def _moved(node: Node, origin: int) -> Node:
    """The places of an element counted from the beginning of its piece."""
    node.start, node.end = node.start - origin, node.end - origin
    for child in node.children:
        _moved(child, origin)
    return node


class _Builder:
    """Puts the tree together, with the place of each element."""

    def __init__(self, parser: expat.XMLParserType, raw: bytes) -> None:
        self.root: Node | None = None
        self._open: list[Node] = []
        self._parser, self._raw = parser, raw

    def start(self, name: str, attributes: dict[str, str]) -> None:
        parser = self._parser
        if len(self._open) >= _MAX_DEPTH:
            raise ValueError(f"nested deeper than {_MAX_DEPTH} levels")
        node = Node(name, attributes, parser.CurrentLineNumber, parser.CurrentByteIndex)
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node
        self._open.append(node)

    def end(self, _name: str) -> None:
        node, place = self._open.pop(), self._parser.CurrentByteIndex
        # The parser tells where an end tag begins, and of an element without one where it ends.
        alone = not node.children and not node.text and self._raw[place - 2 : place] == b"/>"
        node.end = place if alone else self._raw.index(b">", place) + 1

    def text(self, piece: str) -> None:
        if self._open:
            self._open[-1].text += piece

    def doctype(self, *_parts: object) -> None:
        raise ValueError("a document type declaration is not allowed; remove the line <!DOCTYPE …>")
