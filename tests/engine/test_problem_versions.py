"""Versions of a model, and their figures once more, with a real MLflow on PostgreSQL and MinIO."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import pytest

from components.kit.probing import Endpoint, Target
from components.mlflow import settings as room
from problems import archive, lineage, reproducing
from problems.lineage import LineageError, Named
from problems.reproducing import Version
from problems.tabular import problem
from tests.engine import registry
from validate.ground.site import REPOSITORY
from validate.pod import targets
from validate.pod.story import registry as story

pytestmark = pytest.mark.engine
#: A search that takes little.
QUICK = ('models=["linear"]', "trials=3")
#: What a problem's command line imports of here.
PARTS = ("common", "components", "problems", "validate")


@dataclass
class Checkout:
    """A person's own folder with this repository in it, under Git."""

    place: Path
    server: registry.Registry

    def command(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        said = {"PATH": os.environ["PATH"], "HOME": str(self.place), "PYTHONPATH": str(self.place)}
        return subprocess.run(
            [sys.executable, "-m", "problems", *words],
            cwd=self.place,
            env=said | self.server.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def git(self, *words: str) -> str:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        done = subprocess.run(["git", *who, *words], cwd=self.place, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def train(self, work: Path, *settings: str) -> str:
        """The number of the version."""
        words = [word for each in (*QUICK, *settings) for word in ("--set", each)]
        done = self.command("run", "tabular", "--work", str(work), *words)
        assert done.returncode == 0, done.stderr
        return str(json.loads((work / "register" / "verdict.json").read_text())["version"])

    def reproduce(self, version: str, *words: str) -> subprocess.CompletedProcess[str]:
        return self.command("reproduce", version, *words)


@pytest.fixture(scope="module")
def server() -> Iterator[registry.Registry]:
    with registry.registry() as made:
        yield made


@pytest.fixture(scope="module")
def checkout(server: registry.Registry, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    made = Checkout(tmp_path_factory.mktemp("checkout"), server)
    for part in PARTS:
        shutil.copytree(REPOSITORY / part, made.place / part, ignore=shutil.ignore_patterns("__pycache__"))
    made.git("init", "-q")
    made.git("add", "-A")
    made.git("commit", "-q", "-m", "first")
    return made


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the steps of `trained` were done."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def trained(checkout: Checkout, work: Path) -> Version:
    number = checkout.train(work)
    return reproducing.find(checkout.server.mlflow, lineage.named(f"tabular@{number}"))


def test_a_version_names_what_it_comes_from(checkout: Checkout, trained: Version) -> None:
    found = trained.lineage
    assert (found.code.commit, found.code.changed) == (checkout.git("rev-parse", "HEAD"), False)
    assert {"numpy", "scikit-learn", "scipy", "joblib"} <= found.ground.libraries.keys()
    assert found.training.seeds == {"seed": 0} and found.training.settings["trials"] == 3
    assert len(found.training.of_fold) == found.training.settings["folds"]
    assert found.data.records == 442 and set(found.files) == {"model.joblib", "reference.json"}
    assert "deployable" in trained.aliases


def test_the_same_figures_come_after_code_and_data_of_the_checkout_have_changed(
    checkout: Checkout, trained: Version
) -> None:
    place = checkout.place / "problems" / "tabular" / "problem.py"
    before = place.read_text()
    changed = before.replace("    data = load_diabetes(scaled=False)", '    raise ValueError("the data is gone")')
    place.write_text(changed + "\n\ndef model(parameters, settings):\n    raise ValueError('another model')\n")
    try:
        done = checkout.reproduce(f"tabular@sha256:{trained.digest[:12]}")
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.endswith("the same figures\n") and "differs" not in done.stdout
        assert sum(line.endswith(" equal") for line in done.stdout.splitlines()) == len(trained.lineage.figures) == 13
    finally:
        place.write_text(before)


def test_uncommitted_changes_are_said_and_the_code_is_kept_once_for_all_that_have_it(
    checkout: Checkout, trained: Version, tmp_path: Path
) -> None:
    def contents() -> list[str]:
        return [key.rpartition("/")[2] for key in checkout.server.keys("/contents/")]

    before = contents()
    assert {trained.lineage.code.sha256, trained.lineage.data.sha256} <= set(before)
    own = checkout.place / "problems" / "tabular" / "notes.py"
    own.write_text("LATER = 1\n")
    try:
        number = checkout.train(tmp_path / "work", "seed=1")
    finally:
        own.unlink()
    found = reproducing.find(checkout.server.mlflow, lineage.named(f"tabular@{number}")).lineage
    assert (found.code.commit, found.code.changed) == (trained.lineage.code.commit, True)
    assert found.data.sha256 == trained.lineage.data.sha256 and found.training.seeds == {"seed": 1}
    assert sorted(contents()) == sorted([*before, found.code.sha256]), "the data was there already"


def test_a_text_model_is_had_again_too(checkout: Checkout, tmp_path: Path) -> None:
    done = checkout.command("run", "text", "--work", str(tmp_path / "work"), "--set", "trials=2")
    assert done.returncode == 0, done.stderr
    done = checkout.reproduce("text@1", "--work", str(tmp_path / "again"))
    assert done.returncode == 0 and done.stdout.endswith("the same figures\n"), done.stdout + done.stderr
    assert not (tmp_path / "again" / "prepare" / "origin.json").exists(), "no records were made anew"


def test_steps_of_other_code_make_no_version(checkout: Checkout, trained: Version, work: Path, tmp_path: Path) -> None:
    del trained  # its steps have been done
    again, own = tmp_path / "work", checkout.place / "problems" / "tabular" / "notes.py"
    shutil.copytree(work, again)
    own.write_text("LATER = 2\n")
    try:
        done = checkout.command("run", "tabular", "--work", str(again), "--from", "evaluate")
    finally:
        own.unlink()
    assert done.returncode == 2 and "2 kinds of code" in done.stderr and "from validate" in done.stderr, done.stderr


@contextmanager
def changed(server: registry.Registry, part: str, content: bytes | None) -> Iterator[None]:
    """The one object with that in its name, altered or gone (None), as behind MLflow's back."""
    bucket, (key,) = server.bucket, server.keys(part)
    before = bucket.get_object(room.ROOM, key).data
    if content is None:
        bucket.remove_object(room.ROOM, key)
    else:
        bucket.put_object(room.ROOM, key, BytesIO(content), len(content))
    try:
        yield
    finally:
        bucket.put_object(room.ROOM, key, BytesIO(before), len(before))


def refused(checkout: Checkout, version: str) -> str:
    done = checkout.reproduce(version)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == "", "nothing was run"
    return done.stderr


def test_everything_that_is_gone_or_altered_is_told_by_name_at_once(checkout: Checkout, trained: Version) -> None:
    server, found = checkout.server, trained.lineage
    model = f"{trained.place}/model/model.joblib"
    gone = f"contents/{found.data.sha256}"
    # Whole records are the features, too: one object is both.
    assert found.data.sha256 != found.features.sha256 or len(server.keys(gone)) == 1
    altered = changed(server, f"contents/{found.code.sha256}", b"other code")
    with changed(server, gone, None), altered, changed(server, model, b"another model"):
        said = refused(checkout, str(trained))
    assert "the data (records as they arrived) is gone" in said
    assert "the code in MLflow's" in said and f"sha256:{found.code.sha256} was kept" in said
    assert f"model.joblib of {trained} was altered" in said


def test_a_lineage_that_was_altered_is_refused(checkout: Checkout, trained: Version) -> None:
    told = json.loads(trained.lineage.text())
    told["figures"]["accuracy"] = 0.99
    with changed(checkout.server, f"{trained.place}/{lineage.FILE}", json.dumps(told).encode()):
        assert "lineage.json of" in (said := refused(checkout, str(trained))) and "was altered" in said


def test_other_libraries_are_told_and_will_do_only_where_it_is_said(checkout: Checkout, trained: Version) -> None:
    """A version of another day: of other libraries, and with a figure that nobody gets again."""
    then = replace(
        trained.lineage,
        ground=replace(trained.lineage.ground, python="3.4.1", libraries={"numpy": "1.0", "nowhere": "2.0"}),
        figures=dict(trained.lineage.figures) | {"accuracy": 0.5},
    )
    mlflow, digest = checkout.server.mlflow, archive.sha256(then.text())
    one = {"name": "tabular", "version": trained.number, "key": lineage.TAG}
    with changed(checkout.server, f"{trained.place}/{lineage.FILE}", then.text()):
        mlflow.post("model-versions/set-tag", **one, value=digest)
        try:
            said = refused(checkout, str(trained))
            done = checkout.reproduce(str(trained), "--anyway")
        finally:
            mlflow.post("model-versions/set-tag", **one, value=trained.digest)
    assert all(words in said for words in ("Python was 3.4.1", "numpy was 1.0", "nowhere was 2.0, here it is not"))
    assert done.returncode == 1, done.stderr
    assert "other than then: numpy was 1.0" in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines() if line.endswith(" differs")] == ["accuracy"]


@pytest.mark.parametrize("version", ["tabular@999", "tabular@nobody", "nothing@1"])
def test_a_version_that_there_is_not(checkout: Checkout, trained: Version, version: str) -> None:
    del trained  # the model is there
    with pytest.raises(LineageError, match=f"MLflow knows no {version}"):
        reproducing.find(checkout.server.mlflow, lineage.named(version))


def test_a_digest_that_no_lineage_has(checkout: Checkout, trained: Version) -> None:
    with pytest.raises(LineageError, match="0 lineages of tabular begin with sha256:00000000"):
        reproducing.find(checkout.server.mlflow, Named("tabular", digest="00000000"))
    assert "is no MODEL@VERSION" in refused(checkout, "tabular")


def test_the_lineage_as_words_and_as_a_picture(checkout: Checkout, trained: Version, tmp_path: Path) -> None:
    file = tmp_path / "lineage.svg"
    done = checkout.command("lineage", "tabular@deployable", "--svg", str(file))
    assert done.returncode == 0, done.stderr
    assert "training <- features, code, parameters, ground" in done.stdout
    assert trained.lineage.code.commit[:12] in done.stdout
    words = "".join(ElementTree.fromstring(file.read_text()).itertext())
    assert "deployable" in words and f"sha256:{trained.lineage.data.sha256[:12]}" in words


@pytest.fixture
def validator(server: registry.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """What its pod is given."""
    address = server.environment["MLFLOW_TRACKING_URI"].removeprefix("https://")
    given = Target("mlflow", [Endpoint("mlflow", address)], "", "", str(server.ca))
    monkeypatch.setattr(targets, "target", lambda name: given)


@pytest.mark.usefixtures("validator")
def test_the_validators_story_finds_run_and_records_of_a_version(
    trained: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the run that it began, and back from the digest in an answer."""
    run, data = trained.lineage.run, trained.lineage.data
    found = story.registered("tabular", run)
    assert (found["version"], found["of_run"], found["gates"]) == (trained.number, run, "passed")
    assert found["named"] == found["kept"] == data.sha256 and found["records"] == problem.records()
    assert story.registered("tabular", "never-begun") == {"version": "", "of_run": ""}
    reference = f"models:/tabular/{trained.number}"
    monkeypatch.setattr(story, "served", lambda release: {reference: "sha256:0123456789abcdef"})
    back = story.trace("story-a1", "0123456789")
    assert {key: back[key] for key in found} == found and back["reference"] == reference
    assert story.trace("story-a1", "9876543210")["reference"] == ""


@pytest.mark.usefixtures("validator")
def test_the_validators_story_takes_away_the_runs_that_it_made_and_no_others(
    checkout: Checkout, trained: Version, tmp_path: Path
) -> None:
    number = checkout.train(tmp_path, 'models=["linear"]')
    other = reproducing.find(checkout.server.mlflow, lineage.named(f"tabular@{number}"))
    assert story.forget("tabular", [other.lineage.run]) == 0
    assert story.registered("tabular", other.lineage.run) == {"version": "", "of_run": ""}
    assert story.registered("tabular", trained.lineage.run)["version"] == trained.number


def test_a_persons_records_are_shown_then_erased_and_what_stays_is_said(checkout: Checkout, trained: Version) -> None:
    """The last test: no version before it can be had again after."""
    server, found = checkout.server, trained.lineage
    names = {found.data.sha256, found.features.sha256}

    def there() -> list[str]:
        return [key for key in server.keys("/contents/") if key.rpartition("/")[2] in names]

    shown = checkout.command("erase", "tabular/17")
    assert (shown.returncode, len(there())) == (0, len(names)), shown.stderr
    assert f"/{found.data.sha256[:12]}: records of" in shown.stdout and str(trained) in shown.stdout
    assert "would go" in shown.stdout and "not asked: the feature store" in shown.stdout
    nobody = checkout.command("erase", "tabular/442", "--yes")  # of 442 records the last one is 441
    assert (nobody.returncode, len(there())) == (0, len(names)) and "erased" not in nobody.stdout
    done = checkout.command("erase", "tabular/17", "--yes")
    assert (done.returncode, there()) == (0, []), done.stdout + done.stderr
    assert done.stdout.count("erased: ") == shown.stdout.count("would go: ") and "still there" not in done.stdout
    assert "stays: what models learnt: model.joblib of " in done.stdout and "old versions, for 30 days" in done.stdout
    versions = server.bucket.list_objects(room.ROOM, recursive=True, include_version=True)
    assert any(found.data.sha256 in str(each.object_name) and not each.is_delete_marker for each in versions)
    assert "the data (records as they arrived) is gone" in refused(checkout, str(trained))
