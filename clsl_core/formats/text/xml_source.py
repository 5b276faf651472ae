"""Small XML documents as trees, read safely.

A document type declaration is refused, and with it every entity that could expand or reach a
file; size and depth are bounded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.parsers import expat

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Element", "XmlError", "parse_xml", "xml_text"]

MAX_BYTES = 4 * 2**20
MAX_DEPTH = 16


_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class XmlError(ValueError):
    """A document that cannot be used.

    Attributes:
        line: Where, counted from 1.
    """

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(slots=True)
class Element:
    """One element: its name, the text directly in it, and its children in order."""

    name: str
    line: int
    children: list[Element] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text without blanks around it."""
        return "".join(self.pieces).strip()

    def child(self, name: str) -> Element | None:
        """The first child of that name."""
        return next((child for child in self.children if child.name == name), None)

    def text_of(self, *path: str) -> str:
        """The text of a descendant, empty where there is none."""
        element: Element | None = self
        for name in path:
            element = element.child(name) if element else None
        return element.text if element else ""


class _Builder:
    def __init__(self, parser: expat.XMLParserType) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._parser = parser

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        line = self._parser.CurrentLineNumber
        if len(self._open) >= MAX_DEPTH:
            raise XmlError(f"nested deeper than {MAX_DEPTH} levels", line)
        element = Element(name, line)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, _name: str) -> None:
        self._open.pop()

    def text(self, piece: str) -> None:
        if self._open:
            self._open[-1].pieces.append(piece)

    def doctype(self, *_parts: object) -> None:
        message = "a document type declaration is not allowed here; remove the line <!DOCTYPE …>"
        raise XmlError(message, self._parser.CurrentLineNumber)


def parse_xml(raw: bytes) -> Element:
    """The root element of a document.

    Raises:
        XmlError: When it is no XML, too large, too deep, or declares a document type.
    """
    if len(raw) > MAX_BYTES:
        raise XmlError(f"larger than {MAX_BYTES:,} bytes", 1)
    parser = expat.ParserCreate()
    builder = _Builder(parser)
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = builder.doctype
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as error:
        raise XmlError(f"not XML: {expat.ErrorString(error.code)}", error.lineno) from error
    except (LookupError, ValueError) as error:
        if isinstance(error, XmlError):
            raise
        raise XmlError(f"not XML: {error}", parser.CurrentLineNumber) from error
    assert builder.root is not None  # expat refuses a document without an element
    return builder.root


def xml_text(value: str) -> str:
    """The text with U+FFFD for what XML cannot hold."""
    return _NOT_XML.sub("\ufffd", value)
