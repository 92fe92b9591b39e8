"""The register and its matrix: nothing is green that no test has shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml

from components.kit.probing import Verdict
from tests import reports
from tests.reports import make, whole, write
from validate.core.model import Result, slug
from validate.report import Options, prepare, register
from validate.report.matrix import State, build
from validate.report.records import Record, number
from validate.suites.checks import delivery, network, running
from validate.suites.integration import links

PASS, FAIL, INVALID = Verdict.PASS, Verdict.FAIL, Verdict.INVALID


def clause(name: str, layer: str = "platform", must: bool = True) -> dict[str, object]:
    return {"id": name, "statement": f"It does {name}.", "must": must, "proof": "smoke", "layer": layer}


def folder(place: Path, clauses: Iterable[object], tests: object, paper: object = None) -> Path:
    (place / "requirements.yaml").write_text(yaml.safe_dump(list(clauses)))
    (place / "tests.yaml").write_text(yaml.safe_dump(tests))
    (place / "paper.yaml").write_text(yaml.safe_dump(paper or {}))
    return place


def records(**verdicts: Verdict) -> list[Record]:
    """smoke/kafka/<name> for each."""
    return number(Result("smoke", "kafka", name, v, "d") for name, v in verdicts.items())


@pytest.mark.parametrize(
    ("proof", "verdicts", "state"),
    [
        (None, {"write": PASS}, State.UNCOVERED),
        ({"elsewhere": "by hand"}, {"write": PASS}, State.UNCOVERED),
        ({"tests": ["smoke/kafka/write"]}, {"write": PASS}, State.HOLDS),
        ({"tests": ["smoke/kafka/write"]}, {"read": PASS}, State.NOT_RUN),
        ({"tests": ["smoke/kafka/*"]}, {"write": PASS, "read": INVALID}, State.UNCLEAR),
        ({"tests": ["smoke/kafka/*"]}, {"write": INVALID, "read": FAIL}, State.FAILS),
        ({"tests": ["smoke/kafka/*"], "partly": "not all"}, {"write": PASS}, State.PARTLY),
        ({"tests": ["smoke/kafka/*"], "partly": "not all"}, {"write": FAIL}, State.FAILS),
        ({"tests": ["smoke/kafka/write", "chaos/*/*"]}, {"write": PASS}, State.PARTLY),
        ({"tests": ["chaos/*/*"]}, {"write": PASS}, State.NOT_RUN),
        ({"tests": ["*/*/write"]}, {"rewrite": PASS}, State.NOT_RUN),
    ],
)
def test_what_is_said_of_a_clause(tmp_path: Path, proof: object, verdicts: dict[str, Verdict], state: State) -> None:
    known = register.load(folder=folder(tmp_path, [clause("A-1")], {"A-1": proof} if proof else {}))
    (row,) = build(known, records(**verdicts)).rows
    assert row.state is state


def test_what_no_test_proves_comes_first_and_paper_is_neither_red_nor_green(tmp_path: Path) -> None:
    clauses = [clause("A-1"), clause("A-2", "paper"), clause("A-3", "ml"), clause("A-4")]
    paper = {"A-2": {"owner": "A. Rahimi", "date": "2026-12-01", "document": "Minutes 4"}}
    place = folder(tmp_path, clauses, {"A-1": {"tests": ["smoke/*/*"]}}, paper)
    rows = build(register.load(folder=place), records(write=PASS)).rows
    assert [(r.clause.id, r.state) for r in rows] == [
        ("A-4", State.UNCOVERED),
        ("A-3", State.UNCOVERED),
        ("A-1", State.HOLDS),
        ("A-2", State.PAPER),
    ]
    assert rows[-1].paper is not None and rows[-1].paper.owner == "A. Rahimi"


@pytest.mark.parametrize("star", ["smoke/*/*", "smoke/kafka/*", "*/kafka/a*"])
def test_a_star_stays_within_its_part(star: str) -> None:
    assert register.matches(star, "smoke/kafka/a-b")
    assert not register.matches(star, "chaos/minio/a-b")
    assert not register.matches(star, "smoke/a-b")


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    clauses = [clause("A-1"), clause("A-1"), clause("A-2", "paper"), clause("A-3")]
    tests = {"A-2": {"tests": ["a/b/c"]}, "B-9": {"tests": ["a/b/c"]}}
    place = folder(tmp_path, clauses, tests, {"A-3": {"owner": "x", "date": "2026-01-01"}})
    with pytest.raises(register.RegisterError) as caught:
        register.load(folder=place)
    for words in (
        "A-1 stands there twice",
        "no clause B-9",
        "A-2 is of the layer paper",
        "A-3 is not of the layer paper",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("requirements.yaml", "- {id: x}", "statement"),
        ("requirements.yaml", "{", "is no YAML"),
        ("tests.yaml", "A-1: {tests: [smoke/kafka]}", "tests"),
        ("tests.yaml", "A-1: {}", "give tests, or elsewhere"),
        ("tests.yaml", "A-1: {partly: x, elsewhere: y}", "there are none"),
        ("tests.yaml", "A-1: {tests: [a/b/c]}\nA-1: {tests: [a/b/d]}", "A-1 stands there twice"),
        ("paper.yaml", "A-1: {owner: '', date: soon}", "date"),
        ("paper.yaml", None, "No such file"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, file: str, text: str | None, words: str) -> None:
    place = folder(tmp_path, [clause("A-1")], {"A-1": {"tests": ["a/b/c"]}})
    if text is None:
        (place / file).unlink()
    else:
        (place / file).write_text(text)
    with pytest.raises(register.RegisterError, match=words) as caught:
        register.load(folder=place)
    assert file in str(caught.value)


def test_a_sites_own_owners_are_taken_and_a_wrong_file_is_refused_early(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("DOC-04: {owner: B. Karimi, date: 2026-12-24, document: Training plan}\n")
    page = (write(tmp_path, make(PASS), paper=own) / "index.html").read_text()
    assert "Owner: B. Karimi, 2026-12-24, Training plan" in page
    own.write_text("DOC-99: {owner: B. Karimi, date: 2026-12-24}\n")
    with pytest.raises(register.RegisterError, match="no clause DOC-99"):
        prepare(reports.root(tmp_path), "lab", Options(paper=own))


def test_the_register_of_this_repository_is_whole() -> None:
    known = register.load()
    assert len(known.clauses) == 150
    suites = {
        "smoke",
        "chaos",
        "load",
        "stress",
        "integration",
        "ha",
        "audit",
        "coverage",
        "safety",
        "durability",
        "backup",
    }
    rooms = {p.name for p in Path("components").glob("*/") if (p / "probe.py").is_file()}
    for name, proof in known.proofs.items():
        for glob in proof.tests:
            suite, component, _ = glob.split("/")
            assert suite in suites, f"{name}: {glob}"
            fixed = not re.search(r"[*?\[]", component)
            known_apart = {"cluster", "delivery", "records-tenfold"}
            assert not fixed or component in rooms | known_apart, f"{name}: {glob}"


def told(room: str) -> set[str]:
    """The names of the checks that a room's probe, the cluster's checks or the chain make."""
    apart = {
        "chain": links.names(online=True),
        "cluster": (*running.NAMES, network.POLICY, *network.PATHS),
        "delivery": delivery.NAMES,
    }
    known = {slug(name) for name in apart.get(room, ())}
    probe = Path("components") / room / "probe.py"
    text = probe.read_text(encoding="utf-8") if probe.is_file() else ""
    found = re.findall(rf'attempt\(\s*"([^"]+)"|"({room}: [^"]+)"', text)
    return known | {slug(one or other) for one, other in found}


def test_a_check_that_the_register_names_is_made() -> None:
    """A check that is given another name would silently prove its clauses no more."""
    named = [glob.split("/") for p in register.load().proofs.values() for glob in p.tests]
    for suite, component, name in named:
        room = "chain" if suite == "integration" else component
        if suite in ("smoke", "integration") and room != "*" and name != "*":
            assert any(fnmatchcase(each, name) for each in told(room)), f"{suite}/{room}/{name}"


def test_no_clause_of_this_repository_is_called_proved_in_full_without_a_word(tmp_path: Path) -> None:
    """Each mapping says what it leaves open: none of the clauses is narrow enough to be shown whole
    by tests of the data layer alone."""
    states = {row.state for row in build(register.load(), number(whole().results)).rows}
    assert State.HOLDS not in states
    assert {State.PARTLY, State.FAILS, State.UNCOVERED, State.NOT_RUN, State.PAPER} <= states


def test_the_page_says_it_clause_by_clause(tmp_path: Path) -> None:
    page = (write(tmp_path, whole()) / "index.html").read_text()
    matrix = page[page.index('<section id="matrix">') :]
    order = [
        matrix.index(f'id="{str(state).replace(" ", "-")}"')
        for state in (State.UNCOVERED, State.NOT_RUN, State.FAILS, State.PARTLY, State.PAPER)
    ]
    assert order == sorted(order)
    row = matrix[matrix.index('id="c-OPS-01"') :]
    row = row[: row.index("</tr>")]
    link = re.search(r'href="#(r\d+)".*?</span> (\S+)</a> <code title="SHA-256 (\w+)"', row)
    assert link is not None
    anchor, test, digest = link.groups()
    assert test == "chaos/redis/network-cut-acknowledged-writes"
    record = page[page.index(f'id="{anchor}"') :]
    assert digest in record[: record.index("</details>")]
    results = (reports.root(tmp_path) / "latest" / "results.json").read_bytes()
    assert digest in {r.digest for r in number(whole().results)}, "the digest is of the raw record"
    assert b'"test":"chaos/redis/network-cut-acknowledged-writes"' in results
