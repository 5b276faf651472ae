"""``clsl``: everything the screen does, from the command line.

Exit codes: 0 done, 1 could not be done, 2 wrong usage, 3 not found, 4 bad input,
5 conflict with the present state, 130 cancelled.
"""

from __future__ import annotations

import getpass
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import NoReturn

import typer

from app.cli import (
    backup,
    categories,
    exporting,
    images,
    importing,
    learning,
    operating,
    people,
    snapshots,
    splits,
    stats,
    team,
)
from app.cli.console import err, exit_code, print_report
from app.cli.headings import Headed
from app.cli.options import DataDir, Verbose
from clsl_core.errors import ClslError, FormatError
from clsl_core.files import about_disk

NICE = 10

cli = typer.Typer(
    name="clsl",
    cls=Headed,
    help="Complete a partly labelled image collection: the CLSL model proposes, people decide.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for room in (
    importing,
    stats,
    images,
    categories,
    splits,
    snapshots,
    exporting,
    learning,
    team,
    people,
    operating,
    backup,
):
    room.register(cli)


@cli.callback()
def start(context: typer.Context, data_dir: DataDir = None, verbose: Verbose = False) -> None:
    """Choose the data directory, for all commands."""
    from PIL.Image import DecompressionBombWarning

    from app.services.access import rights
    from app.services.runtime import logs
    from app.services.runtime.settings import Settings

    # Pillow warns of pictures that are large but allowed; those not allowed are listed one by one.
    warnings.simplefilter("ignore", DecompressionBombWarning)
    # Without --data-dir the field is left out, so that its default applies.
    settings = Settings() if data_dir is None else Settings(data_dir=data_dir.absolute())
    informs = verbose or context.invoked_subcommand == "worker"
    logs.configure(settings.log_format, logging.INFO if informs else logging.ERROR)
    context.obj = settings
    actor = rights.Actor(f"{getpass.getuser()} (command line)", rights.Role.ADMIN)
    context.with_resource(rights.acting(actor))


def main() -> NoReturn:
    """Run ``clsl``; a ClslError or a disk's fault becomes one line on stderr and an exit code."""
    if hasattr(os, "nice"):
        os.nice(NICE)  # the worker too: whoever reviews meanwhile goes first
    try:
        cli()
    except ClslError as error:
        err.print(f"clsl: {error}")
        if isinstance(error, FormatError) and error.report is not None:
            print_report(error.report)
        raise SystemExit(exit_code(error)) from None
    except OSError as error:
        err.print(f"clsl: {about_disk(error)}, then try again")
        raise SystemExit(1) from None
    raise SystemExit(0)


if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).parents[2])]
    main()
