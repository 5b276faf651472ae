"""The bundle helps, and tells nothing of people, pictures, places or secrets."""

import json
import logging
import zipfile
from pathlib import Path

import pytest

from app.services.jobs.table import JobContext, JobKind
from app.services.operations import support
from app.services.runtime import logs
from tests.builders import coco_document, make_dataset, make_grant, make_workspace


def test_a_bundle_without_names_pictures_paths_and_secrets(
    tmp_path: Path, database_url: str | None
) -> None:
    folder = tmp_path / "secluded-place"
    workspace = make_workspace(folder, database_url=database_url, metrics_token="hush-hush")
    document = coco_document()
    document["images"][0]["file_name"] = "patient-4711.jpg"
    document["categories"][0]["name"] = "secret-disease"
    dataset_id = make_dataset(workspace, "secluded-set", document).dataset_id
    make_grant(workspace, dataset_id, "Ada Lovelace")

    def handler(_context: JobContext) -> dict[str, object]:
        raise ValueError("cannot read /home/ada/patient-4711.jpg")

    job = workspace.jobs.submit(JobKind.TRAIN, dataset_id, {"file": "/home/ada/x.json"})
    workspace.jobs.run(job.id, "worker:1", {JobKind.TRAIN: handler})
    names = support.write_bundle(workspace.settings, tmp_path / "bundle.zip")
    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        assert archive.namelist() == names
        everything = "".join(archive.read(name).decode() for name in names)
        jobs = json.loads(archive.read("jobs.json"))
        rows = json.loads(archive.read("workspace.json"))["rows"]
        settings = json.loads(archive.read("settings.json"))
    secret = (folder / "secret.key").read_text()
    for hidden in ("patient", "disease", "secluded", "Ada", "Lovelace", "/home", "hush", secret):
        assert hidden not in everything
    assert (jobs[0]["status"], jobs[0]["error"]) == ("failed", "ValueError")
    assert (rows["image"], rows["annotator"]) == (4, 1)
    assert (settings["metrics_token"], settings["backbone"]) == (True, "builtin")
    workspace.close()


def test_what_a_job_logs_carries_its_id(workspace, caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.setFormatter(logs.JsonLines())

    def handler(_context: JobContext) -> dict[str, object]:
        logging.getLogger("clsl_core.anything").warning("odd %s", "thing")
        return {}

    job = workspace.jobs.submit(JobKind.DEMO, None)
    workspace.jobs.run(job.id, "worker:1", {JobKind.DEMO: handler})
    lines = [json.loads(line) for line in caplog.handler.stream.getvalue().splitlines()]
    (line,) = (line for line in lines if line["logger"] == "clsl_core.anything")
    assert (line["job"], line["message"], line["level"]) == (job.id, "odd thing", "warning")
    record = logging.LogRecord("app", logging.INFO, "", 0, "plain", (), None)
    with logs.of_job(7), logs.of_request("abcdefgh"):
        assert logs.TextLines().format(record).endswith("plain [request abcdefgh] [job 7]")
