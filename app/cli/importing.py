"""``clsl import`` and ``clsl validate``: annotation files, and what is declared about them."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.console import err, opened, out, print_json, print_report, progress_bar
from app.cli.options import (
    AUTO,
    Absent,
    AbsentOption,
    AnnotationFile,
    AsJson,
    Difficult,
    DifficultOption,
    Empty,
    EmptyOption,
    ExhaustiveOption,
    Folders,
    FoldersOption,
    FormatOption,
    Heading,
    Match,
    MatchOption,
    MinusOne,
    MinusOneOption,
    Names,
    NamesOption,
    NotLabelOption,
    PictureKeyOption,
    Scores,
    ScoresOption,
    ThresholdOption,
    UrlField,
    Zero,
    ZeroOption,
)
from app.cli.running import run_job
from clsl_core.errors import ClslError, FormatError, InputError, JobCancelled

if TYPE_CHECKING:
    from app.services.importing.ingest import ImportRequest
    from app.services.importing.preview import ImportPreview
    from app.services.runtime.settings import Settings
    from app.services.workspace import Workspace
    from clsl_core.formats.read_options import ReadOptions


def options_of(  # noqa: PLR0913, PLR0917 - each is an option
    absent: AbsentOption = Absent.UNKNOWN,
    exhaustive: ExhaustiveOption = None,
    difficult: DifficultOption = Difficult.IGNORE,
    zero: ZeroOption = Zero.AUTO,
    minus_one: MinusOneOption = MinusOne.ABSENT,
    not_labels: NotLabelOption = None,
    picture_key: PictureKeyOption = "",
    folders: FoldersOption = Folders.IGNORE,
    empty: EmptyOption = Empty.UNKNOWN,
    scores: ScoresOption = Scores.PROPOSALS,
    threshold: ThresholdOption = 0.0,
) -> ReadOptions:
    """The declarations as readers take them."""
    from clsl_core.formats.read_options import ReadOptions

    return ReadOptions(
        absent=absent.value,
        exhaustive=tuple(exhaustive or ()),
        difficult=difficult.value,
        zero=zero.value,
        minus_one=minus_one.value,
        not_labels=tuple(not_labels or ()),
        picture_key=picture_key,
        folders=folders.value,
        empty=empty.value,
        scores=scores.value,
        threshold=threshold,
    )


def declares(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of ``options_of`` in place of its parameter ``options``."""
    own = {
        name: one if name == "options" else one.replace(annotation=_evaluated(command, one))
        for name, one in signature(command).parameters.items()
    }
    declared = {
        name: one.replace(annotation=_evaluated(options_of, one))
        for name, one in signature(options_of).parameters.items()
    }
    parameters = [
        one for name, parameter in own.items()
        for one in (declared.values() if name == "options" else [parameter])
    ]  # fmt: skip

    @wraps(command)
    def told(**given: Any) -> None:
        options = options_of(**{name: given.pop(name) for name in declared})
        command(**given, options=options)

    told.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    told.__annotations__ = {one.name: one.annotation for one in parameters}
    del told.__wrapped__  # whose annotations name what is not imported here
    return told


def _evaluated(command: Callable[..., Any], parameter: Parameter) -> Any:
    """What a parameter is annotated with; that of ``options`` is not imported here."""
    text = parameter.annotation
    return eval(text, command.__globals__) if isinstance(text, str) else text  # noqa: S307


def register(cli: typer.Typer) -> None:
    """Add the commands."""
    cli.command("import", rich_help_panel=Heading.DATA)(declares(import_))
    cli.command(rich_help_panel=Heading.DATA)(declares(validate))


def import_(  # noqa: PLR0913, PLR0917 - each is an option
    context: typer.Context,
    file: AnnotationFile,
    images: Annotated[
        str, typer.Option(help="The folder or URL of the pictures.", show_default=False)
    ],
    name: Annotated[str, typer.Option(help="The dataset, new or known.", show_default=False)],
    urls: UrlField = None,
    format_: FormatOption = AUTO,
    options: ReadOptions | None = None,
    names: NamesOption = Names.ALIKE,
    match: MatchOption = Match.AUTO,
    model: Annotated[
        str,
        typer.Option(help="Predictions: the name of the model, where the file does not say it."),
    ] = "",
    pictures_later: Annotated[
        bool, typer.Option("--pictures-later", help="Import though not one picture is there.")
    ] = False,
    dry: Annotated[
        bool,
        typer.Option("--dry-run", help="Tell what was found and would be done; write nothing."),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(help="With --dry-run: write this too, .json or .csv.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --dry-run: print JSON instead of lines.")
    ] = False,
) -> None:
    """Bring an annotation file and its pictures in. A second time changes nothing."""
    from app.services.importing import ingest
    from app.services.jobs.table import JobKind
    from app.services.pictures import places

    assert options is not None, "declared by `declares`"
    asked = {
        "names": names.value,
        "match": match.value,
        "pictures_later": pictures_later,
        "model": model,
    }
    if dry:
        request = ingest.ImportRequest.of(
            file.absolute(), images, name, format_, options, urls or "", **asked
        )
        _dry_run(context.obj, request, report=report, as_json=as_json)
        return
    with opened(context.obj) as workspace:
        found = ingest.recognise(file, format_)
        if format_ == AUTO:
            err.print(f"format {found.format}: {found.reason}")
        request = ingest.ImportRequest.of(
            file.absolute(), images, name, found.format, options, urls or "", **asked
        )
        places.check_place(request.image_root)
        try:
            job = run_job(workspace, JobKind.IMPORT, None, request.to_json())
        except JobCancelled:
            raise
        except ClslError as error:
            problems = ingest.validate(file, found.format, options)
            if problems.ok:
                raise
            raise FormatError(f"{file.name}: nothing was imported", problems) from error
        for problem in (job.result or {}).get("problems", []):
            err.print(problem)
        out.print(job.message)
        broken = (job.result or {}).get("problem_images", 0)
        if broken:
            out.print(
                f"{broken} pictures cannot be used: `clsl stats {shlex.quote(name)}` lists them"
            )


def validate(
    file: AnnotationFile,
    as_json: AsJson = False,
    format_: FormatOption = AUTO,
    options: ReadOptions | None = None,
) -> None:
    """Report every problem of an annotation file, without importing it."""
    from app.services.importing import ingest

    report = ingest.validate(file, format_, options)
    if as_json:
        problems = [
            {"severity": p.severity, "code": p.code, "where": p.where, "message": p.message}
            for p in report.problems
        ]
        print_json({"ok": report.ok, "counts": report.counts, "problems": problems})
    else:
        print_report(report)
        if report.ok:
            out.print("the file can be imported")
    if not report.ok:
        raise typer.Exit(4)


def _dry_run(
    settings: Settings, request: ImportRequest, *, report: Path | None, as_json: bool
) -> None:
    """Print what an import would find and do; nothing is written but the report.

    Raises:
        typer.Exit: The import would be refused, or would ask.
    """
    from app.services.importing import preview as import_preview
    from app.services.importing.report import report_json, report_lines

    with _unchanged(settings) as workspace, progress_bar() as progress:
        preview = import_preview.look(workspace, request, progress)
    if report is not None:
        _write(preview, report)
    if as_json:
        print_json(report_json(preview))
    else:
        for line in report_lines(preview):
            out.print(line)
        out.print("nothing was written")
    if not preview.ok or preview.questions:
        raise typer.Exit(4 if not preview.ok else 5)


@contextmanager
def _unchanged(settings: Settings) -> Iterator[Workspace]:
    """The workspace; where there is none yet, an empty one that is thrown away."""
    if settings.database_url is not None or (settings.data_dir / "clsl.db").exists():
        with opened(settings) as workspace:
            yield workspace
        return
    with tempfile.TemporaryDirectory(prefix="clsl-") as scratch:
        elsewhere = settings.model_copy(update={"data_dir": Path(scratch)})
        with opened(elsewhere) as workspace:
            yield workspace


def _write(preview: ImportPreview, report: Path) -> None:
    from app.services.importing.report import report_csv, report_json
    from clsl_core.files import atomic_text

    suffix = report.suffix.lower()
    if suffix not in (".json", ".csv"):
        raise InputError(f"the report {report.name!r} must end in .json or .csv: name it so")
    with atomic_text(report) as stream:
        if suffix == ".csv":
            stream.write(report_csv(preview))
        else:
            json.dump(report_json(preview), stream, indent=2)
