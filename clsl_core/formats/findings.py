"""Collecting every problem of one file, without letting a broken million drown the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from clsl_core.errors import FormatError
from clsl_core.types import AnnotationSet, Severity, ValidationReport

__all__ = ["LIMIT_PER_CODE", "Findings", "report_of"]

LIMIT_PER_CODE = 1000
"""Problems of one kind that are told one by one; the rest is only counted."""


class Findings:
    """A validation report in the making.

    Attributes:
        report: The report so far; complete after ``finish``.
        noted: How many problems there were so far.
    """

    def __init__(self, file_name: str) -> None:
        self.report = ValidationReport()
        self._file_name = file_name
        self._seen: Counter[tuple[Severity, str]] = Counter()
        self.noted = 0

    def error(self, code: str, where: str, message: str) -> None:
        """Note a problem that refuses the file."""
        self._add(Severity.ERROR, code, where, message)

    def warn(self, code: str, where: str, message: str) -> None:
        """Note a problem that the file is read in spite of."""
        self._add(Severity.WARNING, code, where, message)

    def _add(self, severity: Severity, code: str, where: str, message: str) -> None:
        self._seen[severity, code] += 1
        self.noted += 1
        if self._seen[severity, code] <= LIMIT_PER_CODE:
            self.report.add(severity, code, where, message)

    def refuse(self, code: str, where: str, message: str) -> NoReturn:
        """Note an error after which reading cannot go on.

        Raises:
            FormatError: Always, with the report.
        """
        self.error(code, where, message)
        self.finish()
        raise AssertionError("unreachable: an error was noted")

    def finish(self) -> ValidationReport:
        """Say how many problems were only counted, and give the report.

        Raises:
            FormatError: When the report holds an error.
        """
        for (severity, code), seen in self._seen.items():
            if seen > LIMIT_PER_CODE:
                message = f"{seen - LIMIT_PER_CODE:,} more of {code!r}, {seen:,} in all"
                self.report.add(severity, code, "file", message)
                self.report.untold[severity, code] = seen - LIMIT_PER_CODE
        self._seen.clear()
        if self.report.ok:
            return self.report
        raise FormatError(self._headline(), self.report)

    def _headline(self) -> str:
        errors = self.report.errors
        count = "1 error" if len(errors) == 1 else f"{len(errors):,} errors"
        first = errors[0]
        return f"{self._file_name} cannot be read: {count}; {first.where}: {first.message}"


def report_of(
    read: Callable[[Path], tuple[AnnotationSet, ValidationReport]], path: Path
) -> ValidationReport:
    """What a reader reports of a file; bad content never raises."""
    try:
        return read(path)[1]
    except FormatError as error:
        if error.report is None:
            raise
        return error.report
