"""The audit from end to end without a cluster: kubectl is a script, the pod a folder.

What is streamed into the pod really runs, as processes of their own, against a small file store.
"""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.kit.probing import Verdict
from validate.audit.analysis import Limits
from validate.audit.session import AuditSession, judge_store, row
from validate.core.errors import ClusterError
from validate.ground.kubectl import Cluster
from validate.ground.pods import Pod, code_tar, unpack
from validate.ground.site import REPOSITORY

KUBECTL = """#!{python}
import os, sys
args = sys.argv[1:]
command = args[args.index("--") + 1:]
command[0] = {python!r} if command[0] == "python3" else command[0]
os.chdir({pod!r})
os.environ.update(APADANA_WORK={pod!r}, PYTHONPATH={pod!r})
os.execvp(command[0], command)
"""

PROBE = '''
"""A store in a file; `FORGETS` in its folder makes it lose each hundredth write."""
import os, pathlib
from components.kit.probing import Check, Verdict

HERE = pathlib.Path(os.environ["APADANA_WORK"])

class Writer:
    def open(self, target):
        assert target.password == "very-secret" and target.username == "probe"
        self.file = open(HERE / "store", "a", buffering=1)
    def write(self, uid):
        if (HERE / "DOWN").exists():
            raise ConnectionError("down")
        if not ((HERE / "FORGETS").exists() and int(uid.split("-")[2]) % 100 == 7):
            self.file.write(uid + "\\\\n")
    def read_all(self, run):
        return {u for u in (HERE / "store").read_text().split() if u.startswith(run)}
    def close(self):
        self.file.close()

def writer(): return Writer()
def primary(target): return "file-0"
def smoke(target):
    yield Check("write", Verdict.PASS, "ok")
    yield Check("copies", Verdict.FAIL, "one of two")
def whole(target):
    up = not (HERE / "DOWN").exists()
    return Check("whole", Verdict.PASS if up else Verdict.FAIL, "looked")
'''.replace("\\\\n", "\\n")


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    work, secret = tmp_path / "work", tmp_path / "mounted"
    for folder in (work, secret):
        folder.mkdir()
    (secret / "username").write_text("probe\n")
    (secret / "password").write_text("very-secret\n")
    described = {
        "name": "file",
        "endpoints": [{"protocol": "file", "address": "here:1"}],
        "client": {},
        "members": [{"name": "file-0"}],
        "mounted": str(secret),
    }
    broken = {**described, "name": "missing"}
    unpack(code_tar(REPOSITORY, b""), work)
    (work / "targets.json").write_text(json.dumps([described, broken]))
    (work / "components" / "file").mkdir()
    (work / "components" / "file" / "probe.py").write_text(PROBE)
    script = tmp_path / "kubectl"
    script.write_text(KUBECTL.format(python=sys.executable, pod=str(work)))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    yield Pod(Cluster(tmp_path / "kubeconfig", script), "ns", "pod")
    (work / "audit").mkdir(exist_ok=True)
    (work / "audit" / "stop").touch()


def audit(pod: Pod, folder: Path, forgets: bool) -> tuple[Verdict, str, list[str]]:
    work = folder / "work"
    if forgets:
        (work / "FORGETS").touch()
    session = AuditSession(pod, ["file"], "run7", clients=4, rate=400)
    session.launch()
    session.wait_flowing(30, "to begin")
    while session.status()["file"]["acknowledged"] < 500:
        assert session.last["file"]["state"] == "running"
    session.stop()
    (collected,) = session.collect(folder / "records")
    check, found = judge_store(collected, Limits(5, 100, 10))
    assert found is not None
    return check.verdict, check.detail, row(found)


def test_a_sound_store_passes_and_a_forgetful_one_is_caught(pod: Pod, tmp_path: Path) -> None:
    verdict, detail, cells = audit(pod, tmp_path, forgets=False)
    assert verdict is Verdict.PASS, detail
    assert cells[3] == "0"


def test_a_forgetful_store_is_caught(pod: Pod, tmp_path: Path) -> None:
    verdict, detail, cells = audit(pod, tmp_path, forgets=True)
    assert verdict is Verdict.FAIL and "lost" in detail
    held = set((tmp_path / "work" / "store").read_text().split())
    lines = (tmp_path / "records" / "file.jsonl").read_text().splitlines()
    ops = [json.loads(line) for line in lines]
    acked = {op["uid"] for op in ops if op.get("outcome") == "ok"}
    assert int(cells[3]) == len(acked - held) > 0


def test_smoke_of_a_store_that_has_no_probe_is_a_failure_beside_the_others(pod: Pod) -> None:
    records = list(pod.inside("smoke", "--deadline", "10", timeout=20))
    seen = {(r["component"], r.get("name", r["kind"])): r.get("verdict") for r in records}
    assert seen[("file", "write")] == "PASS"
    assert seen[("file", "copies")] == "FAIL"
    assert seen[("missing", "smoke")] == "FAIL"
    assert ("file", "done") in seen and ("missing", "done") not in seen


def test_whole_waits_until_its_deadline(pod: Pod, tmp_path: Path) -> None:
    args = ["whole", "--component", "file", "--deadline", "1.2"]
    (record,) = pod.checks(*args, timeout=20)
    assert record["verdict"] == "PASS" and "whole_at" in record["evidence"]
    (tmp_path / "work" / "DOWN").touch()
    (record,) = pod.checks(*args, timeout=20)
    assert record["verdict"] == "FAIL" and record["seconds"] >= 1.2


def test_a_read_back_that_fails_is_invalid_not_a_loss(pod: Pod, tmp_path: Path) -> None:
    session = AuditSession(pod, ["file"], "run8", clients=2, rate=100)
    session.launch()
    session.wait_flowing(30, "to begin")
    session.stop()
    (tmp_path / "work" / "store").unlink()
    (tmp_path / "work" / "store").mkdir()
    (collected,) = session.collect(tmp_path / "records", deadline=0.5)
    check, found = judge_store(collected, Limits(5, 1, 1))
    assert check.verdict is Verdict.INVALID and found is None
    assert "nothing could be read back" in check.detail


def test_a_line_that_is_not_json_is_told(pod: Pod, tmp_path: Path) -> None:
    module = tmp_path / "work" / "validate" / "pod" / "__main__.py"
    module.write_text("print('Traceback')")
    with pytest.raises(ClusterError, match="expected a JSON line, got 'Traceback'"):
        list(pod.inside("status", timeout=10))
