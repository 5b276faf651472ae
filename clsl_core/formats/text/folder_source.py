"""Folders as sources: whether they are there, told rather than raised."""

from __future__ import annotations

from pathlib import Path

from clsl_core.formats.findings import Findings

__all__ = ["check_folder", "is_file", "is_folder"]


def is_folder(path: Path) -> bool:
    """Whether a folder of that name can be reached; a name that no system takes is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether a regular file of that name can be reached."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def check_folder(path: Path, findings: Findings, content: str) -> None:
    """Refuse what is no folder.

    Args:
        path: What was given.
        findings: Receives the problem.
        content: What the folder should hold, for the message.

    Raises:
        FormatError: When ``path`` is not there, or is no folder.
    """
    if is_folder(path):
        return
    if is_file(path):
        message = f"{path} is a file; the folder that holds {content} was expected"
        findings.refuse("not-a-folder", "file", message)
    findings.refuse("missing-file", "file", f"there is no folder {str(path)[:300]!a}")
