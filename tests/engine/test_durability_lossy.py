"""A planted lossy store, a process of its own: the audit names each planted defect, no other."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from components.kit.probing import Held, Verdict
from tests.engine.lossystore import Defects
from validate.audit import columns
from validate.audit.analysis import Analysis, Judgement, Limits, analyse, judge
from validate.core import causes
from validate.ground.site import REPOSITORY
from validate.pod.record import AuditRecorder, AuditRun

pytestmark = pytest.mark.engine

WITHIN = 800


class Client:
    """A Writer of the lossy store."""

    def __init__(self, port: int) -> None:
        self._port = port

    def open(self, _: None = None, /) -> None:
        self._line = socket.create_connection(("127.0.0.1", self._port), timeout=20)
        self._file = self._line.makefile("rw")

    def ask(self, *words: str) -> Any:
        self._file.write(" ".join(words) + "\n")
        self._file.flush()
        return json.loads(self._file.readline())

    def write(self, uid: str, /) -> None:
        self.ask("write", uid)

    def read_all(self, run: str, /) -> set[str]:
        return set(self.read_back(run))

    def read_back(self, run: str) -> Held:
        lane, corrupt = self.ask("all")
        return Held([lane], repeats=True, ordered=True, corrupt=corrupt)

    def read_last(self, run: str, client: int) -> int | None:
        found: int | None = self.ask("last", run, str(client))
        return found

    def settings(self) -> dict[str, object]:
        return {"acks": "all"}

    def close(self) -> None:
        self._file.close()
        self._line.close()


@contextmanager
def serving(defects: Defects) -> Iterator[int]:
    words = [sys.executable, "-m", "tests.engine.lossystore", json.dumps(asdict(defects))]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def audited(defects: Defects, folder: Path) -> tuple[Analysis, Judgement, dict[str, list[str]]]:
    """Found, judged, and what the store says it did."""
    with serving(defects) as port:

        def opened() -> Client:
            client = Client(port)
            client.open()
            return client

        recorder = AuditRecorder(folder / "record.jsonl", interval=0.02)
        audit = AuditRun("lossy", "r", recorder, opened, clients=4, rate=1500)
        audit.start()
        asker = opened()
        end = time.monotonic() + 60
        while not _all_done(asker, defects, recorder) and time.monotonic() < end:
            Event().wait(0.05)
        audit.finish(patience=10)
        held = asker.read_back("r")
        done: dict[str, list[str]] = asker.ask("done")
    found = analyse(columns.load(folder / "record.jsonl"), held)
    return found, judge(found, Limits(60, 100, 0.01)), done


def _all_done(asker: Client, defects: Defects, recorder: AuditRecorder) -> bool:
    done: dict[str, list[str]] = asker.ask("done")
    wanted = asdict(defects)
    return recorder.durable_ok > WITHIN + 100 and all(len(of) == wanted[kind] for kind, of in done.items())


@pytest.mark.parametrize("seed", range(3))
def test_every_planted_defect_is_found_by_name(seed: int, tmp_path: Path) -> None:
    planted = Defects(seed, WITHIN, lose=4, repeat=3, delay=3, stale=5, spoil=2, invent=1)
    found, judged, done = audited(planted, tmp_path)
    assert {kind: len(of) for kind, of in done.items()} == {
        "lose": 4,
        "repeat": 3,
        "delay": 3,
        "stale": 5,
        "spoil": 2,
        "invent": 1,
    }
    d = found.damage
    assert sorted(d.lost) == sorted(done["lose"])
    assert sorted(d.duplicated or ()) == sorted(done["repeat"])
    assert sorted(d.reordered or ()) == sorted(done["delay"])
    assert sorted(d.corrupt or ()) == sorted(done["spoil"])
    assert sorted(d.phantom) == sorted(done["invent"])
    assert sorted(s.saw for s in d.stale or ()) == sorted(done["stale"])
    assert judged.verdict is Verdict.FAIL
    assert judged.causes == (
        causes.LOST_WRITES,
        causes.CORRUPT_DATA,
        causes.PHANTOM_WRITES,
        causes.DUPLICATED_WRITES,
        causes.REORDERED_WRITES,
        causes.STALE_READS,
    )


@pytest.mark.parametrize("losses", [1, 20])
def test_exactly_k_of_n_lost_writes(losses: int, tmp_path: Path) -> None:
    found, judged, done = audited(Defects(7, WITHIN, lose=losses), tmp_path)
    assert sorted(found.lost) == sorted(done["lose"]) and len(found.lost) == losses
    assert judged.causes == (causes.LOST_WRITES,)


def test_a_sound_store_passes(tmp_path: Path) -> None:
    found, judged, _ = audited(Defects(1, WITHIN), tmp_path)
    assert judged.verdict is Verdict.PASS, judged.detail
    assert found.reads > 20 and found.damage.stale == () and found.used == {"acks": "all"}
