"""The whole loop from the command line, on the real photographs, and every way it can fail."""

import csv
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import migrations
from app.cli.options import (
    AUTO,
    FORMATS,
    MOST_CONFLICTS,
    MOST_EVENTS,
    Finetune,
    Heading,
    Match,
    Only,
    Policy,
    Rule,
)
from app.services.access import audit_log
from app.services.categories import changes
from app.services.exporting import part
from app.services.importing import identity, ingest
from app.services.reviewing import panels
from clsl_core import formats, types
from tests.builders import coco_document, make_collection

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "import validate embed train schedule runs propose proposals decide export stats jobs "
    "worker db doctor demo backup restore people token audit support-bundle "
    "overlap agreement assign assigned gold conflicts adjudicate snapshot images split"
)


@pytest.fixture
def clsl(tmp_path: Path):
    """Runs ``clsl`` in a process of its own and returns what came of it."""

    def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "app.cli.main", *map(str, arguments)],
            cwd=ROOT,
            env=os.environ | {"CLSL_DATA_DIR": str(tmp_path / "data"), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def hide_half(source: dict) -> tuple[dict, set[tuple[int, int]]]:
    """Remove every second labelled pair with all its annotations; returns what was hidden."""
    pairs = sorted({(a["image_id"], a["category_id"]) for a in source["annotations"]})
    hidden = set(pairs[::2])
    kept = [a for a in source["annotations"] if (a["image_id"], a["category_id"]) not in hidden]
    return {**source, "annotations": kept}, hidden


@pytest.mark.slow
def test_the_whole_loop_on_real_photographs(clsl, coco_a: Path, tmp_path: Path) -> None:
    source = json.loads((coco_a / "instances.json").read_text())
    document, hidden = hide_half(source)
    file = tmp_path / "partly.json"
    file.write_text(json.dumps(document))

    assert "243 images" in clsl("import", file, "--images", coco_a / "images", "--name", "c").stdout
    again = clsl("import", file, "--images", coco_a / "images", "--name", "c").stdout
    assert "nothing changed" in again
    assert "243 images embedded" in clsl("embed", "c", "--backbone", "builtin").stdout
    clsl("train", "c")
    clsl("propose", "c")

    table = tmp_path / "proposals.csv"
    clsl("proposals", "c", "--output", table)
    proposed = rows(table)
    present = [row for row in proposed if row["state"] == "present"]
    scores = [float(row["score"]) for row in present]
    assert scores == sorted(scores, reverse=True)
    assert {row["state"] for row in proposed} == {"present", "absent"}

    names = {c["id"]: c["name"] for c in source["categories"]}
    files = {i["id"]: i["file_name"] for i in source["images"]}
    truth = {(files[image], names[category]) for image, category in hidden}
    first = present[:500]
    found = sum((row["file_name"], row["category"]) in truth for row in first)
    unknown = 243 * 80 - (856 - len(hidden))
    assert found / 500 > 5 * len(hidden) / unknown

    verdicts = tmp_path / "verdicts.csv"
    with verdicts.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["file_name", "category", "verdict"])
        for row in present[:60]:
            right = (row["file_name"], row["category"]) in truth
            writer.writerow([row["file_name"], row["category"], "present" if right else "absent"])
    assert "60 verdicts saved" in clsl("decide", "c", verdicts, "--annotator", "oracle").stdout
    assert "60 were known already" in clsl("decide", "c", verdicts, "--annotator", "oracle").stdout
    waiting = json.loads(clsl("jobs", "--json").stdout)
    assert [job["kind"] for job in waiting if job["status"] == "queued"] == ["train"]

    output = tmp_path / "completed.json"
    clsl("export", "c", "--format", "coco", "--output", output)
    completed = json.loads(output.read_text())
    for key, value in document.items():
        assert json.dumps(completed[key]) == json.dumps(value)
    assert len(completed["labels"]) == 60
    assert {label["annotator"] for label in completed["labels"]} == {"oracle"}
    clsl("import", output, "--images", coco_a / "images", "--name", "again")
    one, other = (json.loads(clsl("stats", name, "--json").stdout) for name in ("c", "again"))
    assert (one["present"], one["absent"]) == (other["present"], other["absent"])
    assert one["categories"] == other["categories"]


def test_import_then_export_changes_nothing(clsl, coco_a: Path, tmp_path: Path) -> None:
    file, output = coco_a / "instances.json", tmp_path / "out.json"
    clsl("import", file, "--images", coco_a / "images", "--name", "c")
    clsl("export", "c", "--output", output)
    source, exported = json.loads(file.read_text()), json.loads(output.read_text())
    assert list(exported) == list(source)
    for key in ("images", "annotations", "categories"):
        assert len(exported[key]) == len(source[key])
        for ours, theirs in zip(exported[key], source[key], strict=True):
            assert list(ours.items()) == list(theirs.items())
    assert exported["info"] == source["info"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("no json at all", "line 1, column 1: expected valid JSON"),
        ("[1, 2]", "expected"),
        ('{"images": []}', "annotations"),
        ("", "empty"),
    ],
)
def test_files_that_are_not_coco(clsl, tmp_path: Path, content: str, expected: str) -> None:
    file = tmp_path / "bad.json"
    file.write_text(content)
    for command in (("validate", file), ("import", file, "--images", tmp_path, "--name", "x")):
        done = clsl(*command, code=4)
        assert expected in done.stdout + done.stderr
    assert json.loads(clsl("validate", file, "--json", code=4).stdout)["ok"] is False


def test_bad_input_of_every_kind(clsl, tmp_path: Path) -> None:
    file, root = make_collection(tmp_path)
    assert "no dataset called 'nope'" in clsl("train", "nope", code=3).stderr
    assert "there are: none yet" in clsl("stats", "nope", code=3).stderr
    missing = clsl("import", tmp_path / "none.json", "--images", root, "--name", "x", code=3)
    assert "no file" in missing.stderr
    folder = clsl("import", file, "--images", tmp_path / "none", "--name", "x", code=4)
    assert "image folder" in folder.stderr
    clsl("import", file, "--images", root, "--name", "x")
    assert "not embedded yet" in clsl("train", "x", code=1).stderr
    assert "no trained model yet" in clsl("propose", "x", code=1).stderr
    assert "is a folder" in clsl("export", "x", "--output", tmp_path, code=4).stderr
    assert "no job 99" in clsl("jobs", "--cancel", 99, code=3).stderr


def test_warnings_are_shown_and_the_import_goes_on(clsl, tmp_path: Path) -> None:
    document = coco_document()
    document["annotations"][0]["image_id"] = 999
    file, root = make_collection(tmp_path, document)
    done = clsl("import", file, "--images", root, "--name", "x")
    assert "warning: annotations[0]: image_id is the number 999" in done.stderr
    assert "4 annotations, 3 labels" in done.stdout


def test_training_with_nothing_known_says_what_to_do(clsl, tmp_path: Path) -> None:
    document = coco_document()
    document["annotations"] = []
    file, root = make_collection(tmp_path, document)
    clsl("import", file, "--images", root, "--name", "x")
    clsl("embed", "x", "--backbone", "builtin")
    assert "Label a few images" in clsl("train", "x", code=1).stderr
    refused = clsl("train", "x", "--finetune", "full", code=1).stderr
    assert "no weights to fine-tune" in refused


def test_broken_pictures_are_listed_and_the_rest_goes_on(clsl, tmp_path: Path) -> None:
    document = coco_document(images=6)
    file, root = make_collection(tmp_path, document)
    whole = (root / "000.jpg").read_bytes()
    (root / "001.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "002.jpg").write_bytes(b"")
    (root / "003.jpg").write_text("hello")
    (root / "004.jpg").unlink()
    clsl("import", file, "--images", root, "--name", "x")
    done = clsl("embed", "x", "--backbone", "builtin").stdout
    assert "2 images embedded, 4 cannot be used" in done
    problems = json.loads(clsl("stats", "x", "--json").stdout)["problem_images"]
    assert {p["file_name"]: p["reason"] for p in problems} == {
        "001.jpg": "truncated",
        "002.jpg": "empty",
        "003.jpg": "not-an-image",
        "004.jpg": "missing",
    }


def test_a_dry_run_tells_all_and_writes_nothing(clsl, tmp_path: Path) -> None:
    document = coco_document()
    file, root = make_collection(tmp_path / "source", document)
    place, data = ("--images", root, "--name", "x"), tmp_path / "data"
    said = clsl("import", file, *place, "--dry-run").stdout
    assert 'plan: make the dataset "x"' in said
    assert "add 4 images, 3 categories, 4 annotations, 4 labels" in said
    assert not data.exists(), "a look does not make a database"
    clsl("import", file, *place)
    before = hashes(data)
    assert "nothing would change" in clsl("import", file, *place, "--dry-run").stdout
    document["annotations"][0]["area"] = 7.0
    document["annotations"].append({"id": 9, "image_id": 999, "category_id": 1})
    file.write_text(json.dumps(document))
    (root / "003.jpg").unlink()
    report = tmp_path / "report.csv"
    said = clsl("import", file, *place, "--dry-run", "--report", report).stdout
    assert "add 1 annotations" in said
    assert "update 1 images, 1 annotations" in said
    assert "pictures that cannot be used: 1 missing" in said
    told = json.loads(clsl("import", file, *place, "--dry-run", "--json").stdout)
    assert told["plan"]["updated"]["annotations"] == 1
    assert told["missing_pictures"] == {"missing": 1}
    assert {"plan", "problem", "category"} <= {row["part"] for row in rows(report)}
    assert hashes(data) == before
    file.write_text("[" * 1000)
    assert "it would be refused" in clsl("import", file, *place, "--dry-run", code=4).stdout
    assert hashes(data) == before


def hashes(folder: Path) -> dict[str, str]:
    """The content of every file of the database."""
    found = sorted(folder.glob("clsl.db*"))
    assert found
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_declarations_reach_the_reader(clsl, tmp_path: Path) -> None:
    file, root = make_collection(tmp_path / "source")
    table = tmp_path / "wide.csv"
    table.write_text("file,cat,dog\n000.jpg,1,0\n001.jpg,-1,0\n")
    args = ("--images", root, "--name")
    clsl("import", table, *args, "zero", "--zero", "absent")
    assert json.loads(clsl("stats", "zero", "--json").stdout)["absent"] == 3
    clsl("import", file, *args, "red", "--exhaustive", "red")
    assert json.loads(clsl("stats", "red", "--json").stdout)["absent"] == 2
    refused = clsl("validate", file, "--exhaustive", "reed", code=4).stderr
    assert "there are 'red'" in refused
    assert "no difficult objects" in clsl("validate", file, "--difficult", "present", code=4).stderr


def test_every_command_has_help(clsl) -> None:
    text = clsl("--help").stdout
    for command in COMMANDS.split():
        assert command in text
        assert len(clsl(command, "--help").stdout) > 100


def test_help_comes_without_what_commands_work_with(clsl) -> None:
    code = (
        "import sys\n"
        "from app.cli.main import cli\n"
        "try:\n"
        "    cli(['--help'])\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert loaded >= {"app", "typer"}
    heavy = {"numpy", "scipy", "redis", "psycopg", "sqlalchemy", "pandas", "streamlit", "torch"}
    assert not heavy & loaded


def test_every_command_stands_under_a_heading(clsl) -> None:
    text = clsl("--help").stdout
    for heading in Heading:
        assert f"\n{heading}:\n" in text
    assert "\nCommands:\n" not in text


@pytest.mark.parametrize(
    ("said", "known"),
    [
        (FORMATS, formats.FORMATS),
        (Finetune, types.Finetune),
        (Policy, changes.Policy),
        (Rule, changes.Rule),
        (Match, identity.Match),
        (Only, part.Only),
        ([AUTO], [ingest.AUTO]),
        ([MOST_EVENTS], [audit_log.MOST]),
        ([MOST_CONFLICTS], [panels.MAX_CONFLICTS]),
    ],
)
def test_the_words_of_the_options_are_those_of_the_services(
    said: Iterable[object], known: Iterable[object]
) -> None:
    assert list(said) == list(known)


def test_doctor_and_upgrade(clsl) -> None:
    findings = json.loads(clsl("doctor", "--json").stdout)
    assert all(finding["ok"] for finding in findings)
    assert f"revision {migrations.head()}" in clsl("db", "upgrade").stdout


def test_backup_and_restore(clsl, tmp_path: Path) -> None:
    file, root = make_collection(tmp_path / "source", coco_document())
    clsl("import", file, "--images", root, "--name", "kept")
    archive = tmp_path / "clsl.zip"
    assert "1 datasets, 4 labels" in clsl("backup", archive).stdout
    clsl("import", file, "--images", root, "--name", "later")
    assert "is whole" in clsl("restore", "--check", archive).stdout
    assert "kept as" in clsl("restore", archive).stderr
    assert "'kept'" in clsl("stats", "later", code=3).stderr
    archive.write_bytes(archive.read_bytes()[:-30])
    assert "no backup" in clsl("restore", archive, code=4).stderr


def test_people_tokens_and_what_they_did(clsl, tmp_path: Path) -> None:
    clsl("people", "role", "Ada", "annotator")
    assert json.loads(clsl("people", "list", "--json").stdout)[0]["role"] == "annotator"
    clsl("people", "role", "Bob", "admin")
    assert "switched off" in clsl("people", "off", "Ada").stdout
    listed = {one["name"]: one for one in json.loads(clsl("people", "list", "--json").stdout)}
    assert (listed["Ada"]["active"], listed["Bob"]["active"]) == (False, True)
    assert "is annotator" in clsl("people", "on", "Ada").stdout
    assert "last administrator" in clsl("people", "off", "Bob", code=5).stderr
    assert "never signed in" in clsl("people", "link", "Ada", "Bob", code=5).stderr
    token = clsl("token", "create", "nightly", "--annotator", "Ada").stdout.strip()
    assert token.startswith("clsl_")
    assert token not in clsl("token", "list").stdout
    clsl("token", "revoke", 1)
    assert json.loads(clsl("token", "list", "--json").stdout)[0]["revoked"]
    clsl("token", "revoke", 2, code=3)
    events = json.loads(clsl("audit", "--json").stdout)
    done = ["token.revoke", "token.create", "people.on", "people.off", "role", "role"]
    assert [event["action"] for event in events] == done
    assert all("(command line)" in event["actor"] for event in events)
    assert "bundle" in clsl("support-bundle", tmp_path / "bundle.zip").stdout


def test_a_benchmark_of_the_literature_needs_its_files(clsl, tmp_path: Path) -> None:
    said = clsl("benchmark", "voc2007", "--root", tmp_path / "nowhere", code=4).stderr
    assert "nowhere" in said


def test_set_times_are_shown_changed_and_taken_away(clsl, tmp_path: Path) -> None:
    file, root = make_collection(tmp_path / "source")
    clsl("import", file, "--images", root, "--name", "set")
    assert "no set times" in clsl("schedule", "set").stdout
    shown = clsl("schedule", "set", "30 3 * * 1").stdout
    assert shown.startswith("30 3 * * 1: At 03:30 on Monday; next ")
    assert clsl("schedule", "set").stdout == shown
    assert "Bad hour" in clsl("schedule", "set", "0 99 * * *", code=4).stderr
    assert "no set times" in clsl("schedule", "set", "--off").stdout
    clsl("schedule", "nowhere", code=3)


@pytest.mark.slow
def test_runs_are_listed_rolled_back_pinned_and_deleted(clsl, tmp_path: Path) -> None:
    file, root = make_collection(tmp_path / "source", coco_document(images=12))
    clsl("import", file, "--images", root, "--name", "set")
    clsl("embed", "set")
    for _ in range(2):
        clsl("train", "set")
        clsl("propose", "set")
    listed = clsl("runs", "set").stdout
    assert listed.count("Nothing could be compared") == 1
    assert listed.count("No run served before") == 1
    states = {run["id"]: run["state"] for run in json.loads(clsl("runs", "set", "--json").stdout)}
    assert states == {2: "serves", 1: "served before"}
    clsl("runs", "set", "--delete", 2, code=5)
    assert "proposals" in clsl("runs", "set", "--serve", 1).stdout
    clsl("runs", "set", "--serve", 1, code=5)
    clsl("runs", "set", "--pin", 1)
    clsl("runs", "set", "--serve", 2, code=5)
    clsl("runs", "set", "--unpin", 1, "--delete", 2)
    (run,) = json.loads(clsl("runs", "set", "--json").stdout)
    assert (run["id"], run["state"], run["pinned"]) == (1, "serves", False)
    assert run["seconds"] > 0
    clsl("runs", "set", "--pin", 7, code=3)


def test_several_people_on_the_command_line(clsl, tmp_path: Path) -> None:
    file, root = make_collection(tmp_path, coco_document(images=6))
    clsl("import", file, "--images", root, "--name", "x")
    assert "2 people judge each pair" in clsl("overlap", "x", 2).stdout
    clsl("overlap", "x", 0, code=4)
    assert "no pair yet" in clsl("agreement", "x").stdout
    clsl("people", "role", "Ada", "reviewer")
    assert "only" in clsl("assign", "x", "Ada", "--category", "red").stdout
    clsl("assign", "x", "Ada", code=4)
    clsl("assign", "x", "Ada", "--category", "mauve", code=3)
    assert json.loads(clsl("assigned", "x", "--json").stdout)[0]["category"] == "red"
    assert "had 1 parts" in clsl("assign", "x", "Ada", "--clear").stdout
    assert "2 known answers" in clsl("gold", "x", 2).stdout
    assert "2 known answers" in clsl("gold", "x", "--clear").stdout
    for person, verdict in (("Ada", "present"), ("Bob", "absent")):
        said = tmp_path / "said.csv"
        said.write_text(f"file_name,category,verdict\n000.jpg,green,{verdict}\n")
        clsl("decide", "x", said, "--annotator", person)
    (found,) = json.loads(clsl("conflicts", "x", "--json").stdout)
    pair = (found["image_id"], found["category_id"])
    assert {one["annotator"] for one in found["opinions"]} == {"Ada", "Bob"}
    clsl("adjudicate", "x", *pair, "present", "--annotator", "Eve")
    assert json.loads(clsl("conflicts", "x", "--json").stdout) == []
    clsl("adjudicate", "x", *pair, "absent", "--annotator", "Eve", code=5)
    assert json.loads(clsl("agreement", "x", "--json").stdout)["together"]["pairs"] == 1
    assert "fewer than 30 pairs" in clsl("agreement", "x").stdout


def test_splits_parts_and_snapshots_go_out(clsl, tmp_path: Path) -> None:
    file, root = make_collection(tmp_path / "source", coco_document(images=12))
    clsl("import", file, "--images", root, "--name", "set")
    parts = ("--parts", "train=50,val=50")
    told = clsl("split", "set", *parts, "--dry-run").stdout
    assert "6 in train, 6 in val; 12 images would change their split" in told
    assert "nothing was changed" in told
    assert json.loads(clsl("split", "set", *parts, "--json").stdout) == {"train": 6, "val": 6}
    output = tmp_path / "out.json"
    made = clsl("export", "set", "--output", output, "--per-split").stdout
    assert "out.val.json: 6 images, 6 annotations" in made
    assert "left out: 6 images, 0 categories, 6 annotations" in made
    assert len(json.loads((tmp_path / "out.train.json").read_text())["images"]) == 6
    clsl("snapshot", "take", "set", "first")
    choice = ("--split", "val", "--category", "red", "--snapshot", "first")
    assert "6 images, 2 annotations" in clsl("export", "set", "--output", output, *choice).stdout
    clsl("split", "set", "--undo")
    assert "no image" in clsl("export", "set", "--output", output, "--per-split", code=4).stderr


def test_a_file_whose_ids_mean_something_else_is_asked_about(clsl, tmp_path: Path) -> None:
    document = coco_document()
    file, root = make_collection(tmp_path, document)
    again = ("--images", root, "--name", "s")
    clsl("import", file, *again)
    document["categories"][0]["name"] = "crimson"
    file.write_text(json.dumps(document))
    asked = clsl("import", file, *again, code=1).stderr
    assert "category 1: was 'red' and is 'crimson'" in asked.replace("\n", " ")
    told = clsl("import", file, *again, "--dry-run", code=5).stdout
    assert "--match ids: red is called crimson from now on, with its 2 labels" in told
    assert "--match names: crimson is new; red stays, with its 2 labels" in told
    plan = clsl("import", file, *again, "--match", "ids", "--dry-run").stdout
    assert "another word: red becomes crimson (2 labels, 0 given by people)" in plan
    assert "updated 1 categories" in clsl("import", file, *again, "--match", "ids").stdout
    assert "nothing changed" in clsl("import", file, *again).stdout
