"""verify and report as commands: exit codes, what they print; runs read back; raw records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner
from typer.testing import Result as Ended

from common.errors import Refusal
from components.kit.probing import Verdict
from tests import reports
from tests.reports import client_key, make, whole, write
from validate import report
from validate.campaign.journal import Journal
from validate.cli import report as cli
from validate.core.errors import ValidateError
from validate.core.model import Result
from validate.report import reading
from validate.report.verify import verify
from validate.suites.plan import Plan, Step, StepOutcome

pytestmark = pytest.mark.engine
app = typer.Typer()
app.command("verify")(cli.verify_command)
app.command("report")(cli.report_command)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report to be looked at."""
    run = whole()
    return write(tmp_path_factory.mktemp("signed"), run, witnesses=("A. Witness",))


def call(*args: object) -> Ended:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def test_verify_tells_what_it_saw_and_prints_the_digest(signed: Path) -> None:
    told = call("verify", signed, "--stack", "lab")
    assert told.exit_code == 0, told.output
    for words in ("is what was signed", "Acceptance of lab: FAIL", "the lab's own key", "A. Witness"):
        assert words in told.output
    only = call("verify", signed / "index.html", "--digest")
    assert only.output.strip() == report.digest_of(signed)


@pytest.mark.parametrize(
    ("args", "code"), [((), 0), (("--stack", "stage"), 1), (("--require-pass",), 1), (("--key", "sha256:00"), 1)]
)
def test_verify_answers_by_its_exit_code(signed: Path, args: tuple[str, ...], code: int) -> None:
    assert call("verify", signed, *args).exit_code == code


def test_verify_names_the_altered_file_and_prints_no_digest_of_it(tmp_path: Path) -> None:
    folder = write(tmp_path, make(Verdict.FAIL))
    path = folder / "results.json"
    path.write_text(path.read_text().replace("FAIL", "PASS"))
    told = call("verify", folder, "--digest")
    assert told.exit_code == 1
    assert "results.json was altered" in told.output
    assert report.digest_of(folder) not in told.stdout


def test_wrong_use_is_an_error_of_use(signed: Path) -> None:
    for args in ((signed / "nothing",), (signed, "--key", signed / "no.pub")):
        assert isinstance(call("verify", *args).exception, Refusal)


def test_a_report_is_made_again_for_the_clients_key(tmp_path: Path) -> None:
    folder = write(tmp_path, whole())
    key = client_key(tmp_path)
    told = call("report", folder, "--sign-key", key, "--witness", "B. Witness", "--witness", "C")
    assert told.exit_code == 0, told.output
    assert told.output.count("digest: sha256:") == 1
    again = (reports.root(tmp_path) / "latest").resolve()
    assert again != folder
    proof = verify(again)
    assert proof.whole and proof.manifest is not None
    assert proof.manifest.key.kind == "client" and proof.manifest.witnesses == ["B. Witness", "C"]
    first = json.loads((folder / "manifest.json").read_text())
    assert proof.manifest.run_id == first["run_id"], "the same run"
    assert (again / "results.json").read_bytes() == (folder / "results.json").read_bytes()


def test_a_journal_of_an_interrupted_campaign_gives_a_report_of_what_there_is(tmp_path: Path) -> None:
    step = Step("chaos/kafka/frozen", "chaos", "kafka", 60, 0, lambda _: StepOutcome())
    late = Step("chaos/redis/frozen", "chaos", "redis", 60, 0, lambda _: StepOutcome())
    folder = reports.root(tmp_path) / "campaigns" / "20260101T000000-00"
    journal = Journal(folder)
    journal.open(Plan((step, late), (), None), "key", "chaos")
    (folder / "records").mkdir()
    (folder / "records" / "raw.jsonl").write_text("{}\n")
    found = Result("chaos", "kafka", "frozen", Verdict.PASS, "0 lost", {}, records=("raw.jsonl",))
    journal.begin(step.id)
    journal.end(step.id, 61.0, StepOutcome([found], limits=["one host"]))
    journal.begin(late.id)
    told = call("report", folder)
    assert told.exit_code == 0, told.output
    made = (reports.root(tmp_path) / "latest").resolve()
    data = json.loads((made / "results.json").read_text())
    assert data["left_out"] == ["chaos/redis/frozen: the campaign ended before it"]
    assert data["limits"] == ["one host"] and data["plan_digest"]
    assert (made / "records" / "raw.jsonl").is_file()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"results": 1}', '{"results": [{"verdict": "GOOD"}]}', "null"])
def test_what_holds_no_run_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValidateError):
        reading.read(tmp_path / "results.json")


def test_an_empty_run_is_no_report_to_make_again(tmp_path: Path) -> None:
    folder = write(tmp_path, make())
    assert "holds no result" in str(call("report", folder).exception)


def test_a_run_is_read_back_as_it_was(signed: Path) -> None:
    run, records = reading.read(signed)
    assert records == signed
    assert run == reading.read(signed / "results.json")[0]
    assert [r.test for r in run.results] == [r.test for r in whole().results]
    assert (run.tables[0].title, run.verdict) == ("Store x fault", Verdict.FAIL)


@pytest.mark.parametrize("name", ["gone.jsonl", "../secret", "/etc/hostname", "link", ""])
def test_a_raw_record_that_is_not_there_takes_the_proof_away(tmp_path: Path, name: str) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (tmp_path / "secret").write_text("secret words")
    (raw / "link").symlink_to(tmp_path / "secret")
    run = make(Verdict.PASS)
    run.results = [Result("smoke", "kafka", "x", Verdict.PASS, "d", records=(name,))]
    folder = write(tmp_path, run, records=raw)
    assert run.verdict is Verdict.INVALID, "the caller's exit code tells it too"
    assert json.loads((folder / "results.json").read_text())["verdict"] == "INVALID"
    assert not (folder / "records").exists()
    assert verify(folder).whole


def test_raw_records_are_copied_and_named_in_the_page(tmp_path: Path) -> None:
    raw = tmp_path / "raw" / "kafka"
    raw.mkdir(parents=True)
    (raw / "ops.jsonl").write_text("{}\n")
    run = make(Verdict.PASS)
    run.results = [Result("smoke", "kafka", "x", Verdict.PASS, "d", records=("kafka/ops.jsonl",))]
    folder = write(tmp_path, run, records=tmp_path / "raw")
    assert (folder / "records/kafka/ops.jsonl").read_text() == "{}\n"
    assert "records/kafka/ops.jsonl" in (folder / "index.html").read_text()
    manifest = json.loads((folder / "manifest.json").read_text())
    assert "records/kafka/ops.jsonl" in manifest["files"]
