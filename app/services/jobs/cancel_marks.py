"""Marks beside SQLite's file that say which jobs are to stop.

A job that writes a long transaction keeps everybody else from writing, whoever cancels it among
them: it looks for its mark and takes everything back, and only then can the cancel be stored.
"""

from __future__ import annotations

from pathlib import Path

from db.session import Database

__all__ = ["CancelMarks"]


class CancelMarks:
    """One empty file for each job that was asked to stop; none on PostgreSQL, where nobody waits.

    Args:
        database: Whose jobs.
    """

    def __init__(self, database: Database) -> None:
        file = database.url.database
        self._file = None if database.shared or not file or file == ":memory:" else Path(file)

    def put(self, job_id: int) -> None:
        """Ask a job to stop."""
        mark = self._mark(job_id)
        if mark is not None:
            mark.touch()

    def there(self, job_id: int) -> bool:
        """Whether a job was asked to stop."""
        mark = self._mark(job_id)
        return mark is not None and mark.exists()

    def clear(self, job_id: int) -> None:
        """Whatever was asked has happened."""
        mark = self._mark(job_id)
        if mark is not None:
            mark.unlink(missing_ok=True)

    def _mark(self, job_id: int) -> Path | None:
        return self._file and self._file.with_name(f"{self._file.name}-cancel-{job_id}")
