"""The list of commands under headings, in the order in which they were added."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


class Headed(TyperGroup):
    """Lists its commands under their ``rich_help_panel``, as plain text."""

    def list_commands(self, ctx: Any) -> list[str]:
        """As they were added, not by the alphabet."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the sections."""
        width = formatter.width - 6 - max(map(len, self.commands))
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            if not command.hidden:
                heading = getattr(command, "rich_help_panel", None) or "Commands"
                about = command.get_short_help_str(width)
                sections.setdefault(heading, []).append((name, about))
        for heading, rows in sections.items():
            with formatter.section(heading):
                formatter.write_dl(rows, col_max=30)
