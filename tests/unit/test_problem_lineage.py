"""The record of a version: what may stand in it, how a version is named, how it is drawn."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from problems import archive, checkout, lineage, origin, picture, reproducing
from problems.lineage import LineageError, Named
from problems.reproducing import Version

SHA, AT = "0123456789abcdef" * 4, "2026-01-31T12:00:00+00:00"
TOLD: dict[str, Any] = {
    "format": 1,
    "model": "tabular",
    "run": "tabular-1",
    "code": {"sha256": SHA, "commit": "a" * 40, "changed": True},
    "data": {"source": "<patients>", "records": 3, "sha256": SHA, "arrived": AT, "judged": AT},
    "features": {
        "source": "the records",
        "view": "tabular",
        "known_at": AT,
        "names": ["age", "bmi"],
        "definition": SHA,
        "sha256": SHA,
    },
    "training": {"settings": {"seed": 1}, "seeds": {"seed": 1}, "parameters": {"strength": 0.5}, "of_fold": [{}, {}]},
    "ground": {"python": "3.13.5", "machine": "x86_64", "image": "", "libraries": {"numpy": "2.4.6"}},
    "files": {"model.joblib": SHA},
    "gates": [{"name": "accuracy", "value": 0.8, "least": 0.7}],
    "figures": {"accuracy": 0.8},
}
Change = Callable[[dict[str, Any]], object]


def text(told: object) -> bytes:
    return json.dumps(told).encode()


def test_what_is_written_is_read_and_written_again_as_the_same_bytes() -> None:
    found = lineage.read(text(TOLD))
    assert lineage.read(found.text()) == found and lineage.read(found.text()).text() == found.text()
    assert json.loads(found.text()) == TOLD


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: told.pop("data"), "lineage.json.data is missing"),
        (lambda told: told.update(more=1), "lineage.json.more is not known"),
        (lambda told: told["code"].update(sha256="abc"), "lineage.json.code.sha256 is 'abc'; allowed"),
        (lambda told: told["code"].update(commit="main"), "lineage.json.code.commit is 'main'"),
        (lambda told: told["code"].update(changed="yes"), "lineage.json.code.changed is 'yes'; a bool is needed"),
        (lambda told: told["data"].update(records=True), "lineage.json.data.records is True; a int is needed"),
        (lambda told: told["data"].update(judged="noon"), "lineage.json.data.judged is 'noon'"),
        (lambda told: told["features"].update(names="age"), "lineage.json.features.names is 'age'; a list"),
        (lambda told: told["features"].update(names=["age", 1]), "lineage.json.features.names[1] is 1; a str"),
        (lambda told: told["gates"].append(3), "lineage.json.gates[1] is 3; an object is needed"),
        (lambda told: told["gates"][0].update(value="0.8"), "lineage.json.gates[0].value is '0.8'; a float"),
        (lambda told: told["figures"].update(f1=float("nan")), "lineage.json.figures.f1 is nan; a float"),
        (lambda told: told["files"].update({"a": "b"}), "lineage.json.files.a is 'b'"),
        (lambda told: told.update(format=2), "format is 2, and this program knows 1 alone"),
    ],
)
def test_what_can_t_be_is_told_with_its_place(change: Change, said: str) -> None:
    told = json.loads(json.dumps(TOLD))
    change(told)
    with pytest.raises(LineageError) as error:
        lineage.read(text(told))
    assert said in str(error.value)


def test_every_mistake_is_told_at_once() -> None:
    told = json.loads(json.dumps(TOLD)) | {"run": 1, "files": 3}
    del told["code"]["commit"]
    with pytest.raises(LineageError) as error:
        lineage.read(text(told))
    assert len(error.value.wrong) == 3, error.value.wrong


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff"])
def test_what_is_no_record_at_all_is_refused(content: bytes) -> None:
    with pytest.raises(LineageError):
        lineage.read(content)


MODELS = st.from_regex(r"[a-z][a-z0-9]{1,19}", fullmatch=True)
NUMBERS = st.integers(1, 10**9).map(lambda number: {"number": str(number)})
DIGESTS = st.text("0123456789abcdef", min_size=8, max_size=64).map(lambda digest: {"digest": digest})
ALIASES = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,40}", fullmatch=True).map(lambda alias: {"alias": alias})


@given(MODELS, st.one_of(NUMBERS, DIGESTS, ALIASES))
def test_a_name_that_is_said_is_the_name_that_is_read(model: str, one: dict[str, str]) -> None:
    found = Named(model, **one)
    assert lineage.named(str(found)) == found


@given(st.text(max_size=40))
def test_any_other_text_is_refused_or_says_itself_again(said: str) -> None:
    try:
        found = lineage.named(said)
    except LineageError as error:
        assert "is no MODEL@VERSION; say" in str(error)
    else:
        assert str(found) == said


@pytest.mark.parametrize(
    "version",
    ["", "0", "01", "1\n", "1@2", "-x", "a b", "sha256:", "sha256:0123", "sha256:GHIJKLMN", "sha256:" + "0" * 65],
)
def test_what_is_no_version(version: str) -> None:
    with pytest.raises(LineageError, match="is no MODEL@VERSION"):
        lineage.named(f"tabular@{version}")


@pytest.mark.parametrize("said", ["", "tabular", "@1", "Tabular@1", "a/b@1", "a@1", f"{'a' * 21}@1", " tabular@1"])
def test_what_names_no_model(said: str) -> None:
    with pytest.raises(LineageError, match="is no MODEL@VERSION"):
        lineage.named(said)


def step(**other: Any) -> dict[str, Any]:
    return {"code": SHA, "python": "3", "machine": "m", "image": "", "libraries": {"numpy": "1"}} | other


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"code": "f" * 64}, "2 kinds of code (train 0123456789ab, evaluate ffffffffffff)"),
        ({"image": "i"}, "2 kinds of image (train none, evaluate i)"),
        ({"libraries": {"numpy": "2"}}, "train had numpy 1, another step 2"),
    ],
)
def test_steps_that_were_done_with_different_things_are_told(other: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match="Do the steps again from validate") as error:
        origin.together({"train": step(), "evaluate": step(**other)})
    assert said in str(error.value)


def test_the_libraries_of_all_steps_are_those_of_the_model() -> None:
    assert origin.together({"a": step(), "b": step(libraries={"scipy": "3"})}) == {"numpy": "1", "scipy": "3"}


@pytest.mark.parametrize(
    ("told", "found"),
    [(["", ""], ("", None)), (["a" * 40, ""], ("a" * 40, False)), (["a" * 40 + "+"] * 2, ("a" * 40, True))],
)
def test_the_commit_of_the_steps(told: list[str], found: tuple[str, bool | None]) -> None:
    assert origin.commit(told) == found


def test_libraries_in_other_versions_are_told() -> None:
    here = origin.loaded()
    assert here["pytest"] == pytest.__version__ and origin.other(here) == []
    said = origin.other({"pytest": "0.1", "nowhere": "1"})
    assert said == ["nowhere was 1, here it is not installed", f"pytest was 0.1, here it is {pytest.__version__}"]


@pytest.mark.parametrize(
    ("file", "commit"),
    [
        (None, "clean"),
        ("problems/tabular/more.py", "changed"),
        ("problems/steps.py", "changed"),
        ("problems/tabular/views/tabular.yaml", "changed"),
        ("problems/tabular/README.md", "clean"),
        ("problems/text/features.py", "clean"),
        ("elsewhere.py", "clean"),
    ],
)
def test_changes_that_no_commit_has_are_seen_where_they_run(file: str | None, commit: str, tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        done = subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    folder = tmp_path / "problems"
    (folder / "tabular" / "views").mkdir(parents=True)
    (folder / "text").mkdir()
    (folder / "steps.py").touch()
    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "x")
    if file:
        (tmp_path / file).write_text("# other\n")
    head = git("rev-parse", "HEAD")
    assert checkout.commit("tabular", folder) == head + ("+" if commit == "changed" else "")


def test_a_folder_that_git_does_not_have_is_of_no_commit(tmp_path: Path) -> None:
    """Not of the repository that it happens to lie in, either."""
    assert checkout.commit("tabular", tmp_path) == ""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "steps.py").touch()
    assert checkout.commit("tabular", tmp_path) == ""


def test_the_definition_of_features_is_that_of_its_files_alone(tmp_path: Path) -> None:
    def definition(file: str = "", content: str = "") -> str:
        if file:
            (tmp_path / file).write_text(content)
        return archive.definition(archive.of_folder("tabular", tmp_path), "tabular")

    (tmp_path / "tabular" / "views").mkdir(parents=True)
    for name in (*archive.SHARED, "tabular/features.py", "tabular/problem.py", "tabular/views/tabular.yaml"):
        (tmp_path / name).touch()
    first = definition()
    assert definition("tabular/problem.py", "A = 1\n") == first
    assert definition("tabular/features.py", "A = 1\n") != first
    second = definition()
    assert definition("tabular/views/tabular.yaml", "views: []\n") != second


@pytest.mark.parametrize(
    ("then", "now", "equal"),
    [
        (0.5, 0.5, True),
        (0.5, 0.5 + 1e-12, True),
        (0.5, 0.5001, False),
        (0.5, None, False),
        (0.0, 0.0, True),
        (0.5, float("nan"), False),
    ],
)
def test_when_two_figures_are_the_same(then: float, now: float | None, equal: bool) -> None:
    (found,) = reproducing.compare({"f1": then}, {"f1": now, "more": 1.0})
    assert found.equal is equal and str(found).endswith("equal" if equal else "differs")


VERSION = Version(Named("tabular", "3"), "3", ("deployable",), SHA, "1/x/artifacts", "1", lineage.read(text(TOLD)))


def test_the_picture_has_all_that_is_said_and_leads_from_the_data_to_the_stages() -> None:
    graph = picture.graph(VERSION)
    said, before = picture.text(graph), [node.name for node in graph]
    for node in graph:
        assert all(before.index(source) < before.index(node.name) for source in node.of), "arrows lead on"
    drawn = ElementTree.fromstring(picture.svg(graph, str(VERSION)))
    words = "".join(drawn.itertext())
    assert "&lt;patients&gt;" in picture.svg(graph, "x") and "<patients>" in words
    for each in ("deployable", "accuracy 0.800 >= 0.7", "and changes that are not in it", "strength 0.5", "seed 1"):
        assert each in said.replace("\n", " ")
    shapes = [each.tag.rpartition("}")[2] for each in drawn.iter()]
    assert shapes.count("rect") == len(graph) and shapes.count("path") == 1 + sum(len(node.of) for node in graph)


def test_boxes_of_the_picture_lie_beside_each_other() -> None:
    many = replace(VERSION, aliases=tuple(f"alias-{number}" for number in range(40)))
    drawn = ElementTree.fromstring(picture.svg(picture.graph(many), "x"))
    boxes = [
        tuple(int(each.attrib[key]) for key in ("x", "y", "width", "height"))
        for each in drawn.iter("{http://www.w3.org/2000/svg}rect")
    ]
    for at, (x, y, width, height) in enumerate(boxes):
        assert x + width <= int(drawn.attrib["width"]) and y + height <= int(drawn.attrib["height"])
        for other_x, other_y, other_width, other_height in boxes[:at]:
            apart = x >= other_x + other_width or other_x >= x + width
            assert apart or y >= other_y + other_height or other_y >= y + height
