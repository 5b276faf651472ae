"""Which picture an XML file of PASCAL VOC is about."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from clsl_core.formats.findings import Findings

__all__ = ["Pictures"]


@dataclass(frozen=True, slots=True)
class Pictures:
    """The files that lie where the pictures are looked for.

    Attributes:
        by_stem: Their paths by the path without the ending.
        names: Their paths.
    """

    by_stem: dict[str, str]
    names: frozenset[str]

    @classmethod
    def below(cls, folder: Path) -> Pictures:
        """Those of a folder and below it; none where there is no such folder."""
        try:
            files = [path for path in folder.rglob("*") if path.suffix.lower() != ".xml"]
            names = [path.relative_to(folder).as_posix() for path in files if path.is_file()]
        except OSError:
            names = []
        by_stem = {str(PurePosixPath(name).with_suffix("")): name for name in sorted(names)}
        return cls(by_stem, frozenset(names))

    def of(self, key: str, stated: str, where: str, findings: Findings) -> str:
        """The picture of an XML file: as it says, unless only one called like itself is there.

        Args:
            key: Path of the XML file without the ending.
            stated: What it says under ``<filename>``: with its folder or without.
            where: The XML file, for messages.
            findings: Receives what is odd.
        """
        found = self.by_stem.get(key)
        if not stated:
            name = found or f"{key}.jpg"
            findings.warn("no-file-name", where, f"no <filename>; taken to be {name!a:.200}")
            return name
        name = self._in_its_folder(key, stated)
        if found is None or name in self.names:
            return name
        message = f"<filename> is {stated!a:.200}, which is not there; taken to be {found!a:.200}"
        findings.warn("other-file-name", where, message)
        return found

    def _in_its_folder(self, key: str, stated: str) -> str:
        """The stated path; in the folder of the XML file where it names none."""
        folder, _, _ = key.rpartition("/")
        inside = f"{folder}/{stated}"
        if not folder or "/" in stated or "\\" in stated:
            return stated
        return stated if stated in self.names and inside not in self.names else inside
