"""Pseudonyms: no name of a machine in any file that is handed out, and the same word each time."""

from __future__ import annotations

import base64
import gzip
import json
import re
import stat
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.kit.probing import Verdict
from tests import reports
from tests.reports import BEGAN, make, whole, write
from validate.core.model import Result, Table
from validate.report.pseudonyms import Pseudonyms

HIDDEN = ("worker-7", "worker-7.example", "10.4.0.12", "fd00::12", "db-host", "02:42:ac:11:00:02")
CONTRACT = {
    "site": "lab",
    "deployer": "pulumi",
    "namespace": "p",
    "bundle_digest": "sha256:" + "0" * 64,
    "components": [
        {
            "name": "kafka",
            "version": "4",
            "mode": "managed",
            "members": [{"name": "kafka-0", "node": "db-host", "role": "broker"}],
            "endpoints_in": [{"protocol": "kafka", "address": "kafka.inside.example:9092"}],
        }
    ],
}


def texts(folder: Path) -> dict[str, str]:
    """Every file of the folder as text; what the PDF holds compressed is unpacked."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            if path.suffix == ".gz":
                raw = gzip.decompress(raw)
            if path.suffix == ".pdf":
                raw = b"".join(unpacked(raw))
            found[path.name] = raw.decode("utf-8", "replace")
    return found


def unpacked(raw: bytes) -> list[bytes]:
    found = [raw]
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", raw, re.DOTALL):
        try:
            found.append(zlib.decompress(base64.a85decode(stream.strip().removesuffix(b"~>"))))
        except (ValueError, zlib.error):
            continue
    return found


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "platform.json").write_text(json.dumps(CONTRACT))
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "worker-7.jsonl").write_text('{"at": "10.4.0.12:9092", "by": "db-host"}\n')
    with gzip.open(raw / "log.gz", "wb") as file:
        file.write(b"WORKER-7.EXAMPLE said hello to fd00::12\n")
    (raw / "core.bin").write_bytes(b"\xff\xfe\x00worker-7")
    return tmp_path


def test_no_name_is_left_in_any_file(state: Path) -> None:
    run = whole()
    run.results.append(
        Result(
            "ha",
            "worker-7",
            "worker-7 killed: db-host lives",
            Verdict.PASS,
            "kafka-0 on db-host; WORKER-7 is gone; 10.4.0.12:9092, [fd00::12]:80, 02:42:ac:11:00:02; "
            "kafka.inside.example:9092, at 12:34:56, version 1.2.3",
            {"victim": "worker-7.example", "hosts": {"db-host": {"up": 1}}, "worker-7": "x"},
            1.0,
            BEGAN + 5000,
            records=("worker-7.jsonl", "log.gz", "core.bin"),
        )
    )
    run.tables.append(Table("Host by service", ["host", "worker-7"], [["db-host", "worker-7.example"]]))
    run.command = "ha --host worker-7 --stack lab"
    folder = write(state, run, pseudonyms=True, records=state / "raw")
    found = texts(folder)
    assert "chaos/kafka/frozen" in found["report.pdf"], "the test reads what the PDF says"
    for name, text in found.items():
        for hidden in (*HIDDEN, "inside.example"):
            assert hidden not in text.lower(), f"{hidden} in {name}"
        assert not re.search("worker-7|db-host", str(folder / name))
    page = found["index.html"]
    for kept in ("12:34:56", "1.2.3", "kafka", "acknowledged", "lab", "1 raw records are no text"):
        assert kept in page
    listed = json.loads((state / "keys" / "pseudonyms-lab.json").read_text())
    assert {"worker-7", "db-host", "10.4.0.12", "fd00::12"} <= set(listed.values())
    for secret in (state / "keys").glob("pseudonyms-*"):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["pseudonyms"] is True and manifest["site"] == "lab"


def test_the_same_name_is_the_same_word_in_the_next_report_and_changes_are_seen(state: Path) -> None:
    def run(verdict: Verdict, at: float) -> Path:
        told = make(at=at)
        told.results = [Result("ha", "worker-7", "trial", verdict, "d", {"host": "worker-7"})]
        return write(state, told, pseudonyms=True)

    clear = make(at=BEGAN)
    clear.results = [Result("ha", "worker-7", "trial", Verdict.PASS, "d", {"host": "worker-7"})]
    write(state, clear)
    first, second = run(Verdict.PASS, BEGAN + 1), run(Verdict.FAIL, BEGAN + 2)
    told = [json.loads((f / "results.json").read_text())["results"] for f in (first, second)]
    names = [results[0]["test"] for results in told]
    assert names[0] == names[1] and "worker" not in names[0]
    for folder in (first, second):
        page = (folder / "index.html").read_text()
        assert "are no longer tested" not in page, "the clear report's names were brought along"
    assert "now fail" in (second / "index.html").read_text()


def test_another_site_has_other_words(state: Path) -> None:
    words = []
    for site in ("lab", "stage"):
        run = make(site=site)
        run.results = [Result("ha", "worker-7", "trial", Verdict.PASS, "d", {"host": "worker-7"})]
        folder = write(state, run, pseudonyms=True)
        words.append(json.loads((folder / "results.json").read_text())["results"][0]["component"])
    assert words[0] != words[1]


def test_a_name_that_is_given_is_replaced_too(state: Path) -> None:
    run = make(Verdict.PASS)
    run.limits.append("Only Persepolis was tested.")
    folder = write(state, run, pseudonyms=True, names=("persepolis",))
    assert all("persepolis" not in text.lower() for text in texts(folder).values())


def test_without_the_wish_nothing_is_replaced(state: Path) -> None:
    folder = write(state, whole())
    assert "worker-7.example" in (folder / "index.html").read_text()
    assert not list((state / "keys").glob("pseudonyms-*"))
    assert reports.root(state).is_dir()


NAMES = st.from_regex(r"[a-z][a-z0-9]{1,8}(-[0-9]{1,2})?", fullmatch=True)
ADDRESSES = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))


@given(name=NAMES, address=ADDRESSES, before=st.text(max_size=8), after=st.text(max_size=8))
def test_whatever_stands_around_it_a_name_does_not_get_through(
    name: str, address: str, before: str, after: str
) -> None:
    made = Pseudonyms(b"k" * 32, frozenset({name}))
    for text in (f"{before} {name} {after}", f"({name.upper()}):{address}", f"at {address}, {after}"):
        washed = made.text(text)
        assert made.leaked(washed) == []
        assert made.text(text) == washed
    assert address not in made.text(f"to {address}.") or address in {"0.0.0.0", "::", "::1", "127.0.0.1"}
