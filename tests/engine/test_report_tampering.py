"""Whoever alters a report is found out, file by file; whoever did not is let through."""

from __future__ import annotations

import base64
import json
import random
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common import keys
from components.kit.probing import Verdict
from tests import reports
from tests.reports import client_key, make, write
from validate.core.plain import digest
from validate.report import seal, signers
from validate.report.verify import Demands, NoReportError, Verification, verify

pytestmark = pytest.mark.engine
FILES = (
    "index.html",
    "junit.xml",
    "manifest.json",
    "manifest.sig",
    "report.pdf",
    "results.json",
    "records/a/raw.jsonl",
)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three reports in a row; the last one has raw records."""
    folder = tmp_path_factory.mktemp("origin")
    raw = folder / "raw" / "a"
    raw.mkdir(parents=True)
    (raw / "raw.jsonl").write_text('{"kind": "run"}\n' * 50)
    for number in range(3):
        run = make(Verdict.PASS, Verdict.FAIL, at=reports.BEGAN + 100 * number)
        run.results[0] = run.results[0].__class__(**{**run.results[0].__dict__, "records": ("a/raw.jsonl",)})
        write(folder, run, records=folder / "raw", witnesses=("A. Witness",))
    return folder


@pytest.fixture
def report(origin: Path, tmp_path: Path) -> Path:
    """A copy of the last one, with its forerunners and the lab's key, to be spoilt."""
    for name in ("reports", "keys"):
        shutil.copytree(origin / name, tmp_path / name, symlinks=True)
    return (reports.root(tmp_path) / "latest").resolve()


def told(proof: Verification) -> str:
    return "\n".join(proof.problems)


def test_what_is_whole_passes_as_a_folder_and_as_a_page_alone(report: Path) -> None:
    proof = verify(report)
    assert proof.whole and proof.manifest is not None, told(proof)
    assert any("2 earlier reports in an unbroken chain" in note for note in proof.notes)
    assert proof.manifest.witnesses == ["A. Witness"]
    assert set(proof.manifest.files) == set(FILES) - {"manifest.json", "manifest.sig"}
    page = report.parent.parent.parent / "mailed.html"
    shutil.copy(report / "index.html", page)
    alone = verify(page)
    assert alone.whole and alone.digest == proof.digest
    assert any("WHO signed is not proved" in note for note in alone.notes)
    assert any("the page alone was checked, not junit.xml" in note for note in alone.notes)


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_anywhere_is_found_and_its_file_is_named(report: Path, name: str) -> None:
    path = report / name
    raw = path.read_bytes()
    dice = random.Random(name)
    places = {0, len(raw) - 1, *(dice.randrange(len(raw)) for _ in range(60))}
    for place in places:
        path.write_bytes(raw[:place] + bytes([raw[place] ^ (1 << dice.randrange(8))]) + raw[place + 1 :])
        proof = verify(report)
        assert not proof.whole, f"bit flipped in byte {place} of {name}"
        assert Path(name).name in told(proof) or name == "manifest.sig", told(proof)
    path.write_bytes(raw)
    assert verify(report).whole


def test_one_flipped_bit_in_the_page_alone_is_found_in_its_seal_too(report: Path) -> None:
    raw = (report / "index.html").read_bytes()
    begin, dice = raw.index(seal.OPEN.encode()), random.Random(1)
    for place in [*range(begin - 5, len(raw), 7), *(dice.randrange(begin) for _ in range(200))]:
        altered = bytearray(raw)
        altered[place] ^= 1 << dice.randrange(8)
        (report / "alone.html").write_bytes(altered)
        assert not verify(report / "alone.html").whole, f"byte {place}"


def _add(report: Path) -> None:
    (report / "records" / "more.txt").write_text("x")


def _hide(report: Path) -> None:
    (report / ".hidden").write_text("x")


def _rename(report: Path) -> None:
    (report / "junit.xml").rename(report / "junit-old.xml")


def _link(report: Path) -> None:
    shutil.copy(report / "junit.xml", report.parent / "same.xml")
    (report / "junit.xml").unlink()
    (report / "junit.xml").symlink_to(report.parent / "same.xml")


def _swap(report: Path) -> None:
    one, two = report / "junit.xml", report / "results.json"
    a, b = one.read_bytes(), two.read_bytes()
    one.write_bytes(b)
    two.write_bytes(a)


def _cut(report: Path) -> None:
    path = report / "index.html"
    path.write_bytes(path.read_bytes()[:-40])


def _twice(report: Path) -> None:
    path = report / "index.html"
    page = path.read_text()
    path.write_text(page.replace(seal.OPEN, f"{seal.OPEN}{seal.CLOSE}{seal.OPEN}", 1))


def _smuggle(report: Path) -> None:
    """Something to be seen inside the seal, which the page's digest leaves out."""
    path = report / "index.html"
    page = path.read_text()
    path.write_text(page.replace(seal.OPEN, f"{seal.OPEN}</template><h1>PASS</h1><template>", 1))


def _forget(report: Path) -> None:
    (report / "manifest.json").unlink()


def _other_seal(report: Path) -> None:
    """The page of an earlier report in the folder of this one."""
    older = sorted(p for p in report.parent.glob("2*") if p != report)[0]
    shutil.copy(older / "index.html", report / "index.html")


def _old_manifest(report: Path) -> None:
    """A whole seal, of another report of the same key."""
    older = sorted(p for p in report.parent.glob("2*") if p != report)[0]
    for name in ("manifest.json", "manifest.sig"):
        shutil.copy(older / name, report / name)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_add, "records/more.txt was added"),
        (_hide, ".hidden was added"),
        (_rename, "junit.xml was renamed to junit-old.xml"),
        (_link, "junit.xml is a link"),
        (_swap, "junit.xml was altered"),
        (_cut, "index.html"),
        (_twice, "more than one"),
        (_smuggle, "index.html: its seal can't be read"),
        (_forget, "manifest.json is missing"),
        (_other_seal, "index.html carries the seal of another report"),
        (_old_manifest, "results.json was altered"),
    ],
)
def test_a_spoilt_folder(report: Path, spoil: Callable[[Path], None], words: str) -> None:
    spoil(report)
    assert words in told(verify(report)), told(verify(report))


@pytest.mark.parametrize("name", [n for n in FILES if not n.startswith("manifest")])
def test_a_missing_file_is_named(report: Path, name: str) -> None:
    (report / name).unlink()
    assert f"{name} is missing" in told(verify(report))


def resign(report: Path, change: Callable[[dict[str, object]], None], key: Ed25519PrivateKey) -> None:
    """What somebody with a key of his own can do: alter, and seal anew, all of it consistent."""
    manifest = json.loads((report / "manifest.json").read_bytes())
    change(manifest)
    public = key.public_key()
    manifest["key"] |= {
        "fingerprint": keys.fingerprint(public),
        "public": base64.b64encode(public.public_bytes_raw()).decode(),
    }
    blank, _, _ = seal.take((report / "index.html").read_bytes())
    manifest["files"]["index.html"] = {"sha256": digest(blank), "size": len(blank)}
    raw = json.dumps(manifest).encode()
    signature = keys.sign(raw, key)
    (report / "manifest.json").write_bytes(raw)
    (report / "manifest.sig").write_bytes(signature)
    (report / "index.html").write_bytes(seal.fill(blank, raw, signature))


def test_another_key_is_found_against_the_one_that_is_trusted(report: Path, tmp_path: Path) -> None:
    trusted = tmp_path / "trusted.pub"
    shutil.copy(tmp_path / "keys" / "report-lab.pub", trusted)
    fingerprint = keys.fingerprint(signers.trusted(trusted).public)
    assert any("who signed if it is yours" in note for note in verify(report).notes)
    assert verify(report, Demands(str(trusted))).whole
    assert verify(report, Demands(fingerprint)).whole
    resign(report, lambda m: m.update(verdict="PASS"), Ed25519PrivateKey.generate())
    assert "another key" in told(verify(report)), "this machine's own key is known to it"
    for key in (str(trusted), fingerprint):
        assert "another key" in told(verify(report, Demands(key)))
    page = tmp_path / "elsewhere" / "mailed.html"
    page.parent.mkdir()
    shutil.copy(report / "index.html", page)
    assert any("WHO signed is not proved" in note for note in verify(page).notes)
    assert "another key" in told(verify(page, Demands(fingerprint)))


def test_a_fingerprint_that_is_not_the_keys_is_no_way_in(report: Path) -> None:
    """The manifest names a trusted fingerprint and carries another key."""
    manifest = json.loads((report / "manifest.json").read_bytes())
    other = Ed25519PrivateKey.generate()
    manifest["key"]["public"] = base64.b64encode(other.public_key().public_bytes_raw()).decode()
    raw = json.dumps(manifest).encode()
    (report / "manifest.json").write_bytes(raw)
    (report / "manifest.sig").write_bytes(keys.sign(raw, other))
    proof = verify(report, Demands(manifest["key"]["fingerprint"]))
    assert "not the one that its fingerprint names" in told(proof)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b'{"schema":2}', b"\xff\xfe", b'{"a":' * 5000, b"0" * 10**6]
)
def test_a_manifest_of_nonsense_is_a_problem_and_no_crash(report: Path, raw: bytes) -> None:
    (report / "manifest.json").write_bytes(raw)
    assert "manifest.json can't be read" in told(verify(report))


def test_results_of_another_stack_or_another_verdict_are_refused(report: Path) -> None:
    assert verify(report, Demands(stack="lab")).whole
    assert "report of 'lab', and 'production'" in told(verify(report, Demands(stack="production")))
    assert verify(report, Demands(verdict=Verdict.FAIL)).whole
    assert "verdict is FAIL" in told(verify(report, Demands(verdict=Verdict.PASS)))


def _alter_older(report: Path) -> None:
    older = sorted(report.parent.glob("2*"))[0] / "manifest.json"
    older.write_text(older.read_text().replace('"FAIL"', '"PASS"'))


def _replace_older(report: Path) -> None:
    folder = sorted(report.parent.glob("2*"))[1]
    resign(folder, lambda m: m.update(verdict="PASS"), Ed25519PrivateKey.generate())


@pytest.mark.parametrize("spoil", [_alter_older, _replace_older])
def test_an_altered_forerunner_breaks_the_chain(report: Path, spoil: Callable[[Path], None]) -> None:
    spoil(report)
    assert "the chain is broken" in told(verify(report))


def test_a_forerunner_that_was_cleared_away_is_said_and_no_offence(report: Path) -> None:
    shutil.rmtree(sorted(report.parent.glob("2*"))[0])
    proof = verify(report)
    assert proof.whole
    assert any("is not here: not checked" in note for note in proof.notes)


@pytest.mark.parametrize("name", ["manifest.json", "report.pdf", "nothing", "empty"])
def test_what_is_no_report_is_wrong_use(report: Path, name: str) -> None:
    (report / "empty").mkdir()
    with pytest.raises(NoReportError):
        verify(report / name)


def test_a_key_that_expires_later_and_then_is_not_taken(tmp_path: Path) -> None:
    end = datetime.now(UTC) + timedelta(days=30)
    report = write(tmp_path, make(Verdict.PASS), sign_key=client_key(tmp_path, end))
    demands = Demands(str(tmp_path / "client.pub"))
    assert verify(report, demands).whole
    later = end + timedelta(days=1)
    assert "its key expired" in told(verify(report, demands, later))
    assert "its key expired" in told(verify(report, Demands(), later)), "the report itself says it"
    assert verify(report, Demands(demands.key, expired=True), later).whole
    (tmp_path / "client.json").write_text('{"not_after": "2020-01-01T00:00:00Z"}')
    proof = verify(report, Demands(demands.key, expired=True))
    assert "after that" in told(proof), "who trusts the key knows better when it ended"
    page = (report / "index.html").read_text()
    assert "the key that the client gave: Client &lt;Ltd&gt;" in page
