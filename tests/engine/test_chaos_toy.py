"""Whole experiments on a platform of processes: what is proved, what isn't, what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.injecting import until
from tests.toy import plan as toy
from tests.toy.running import running
from validate.core.model import Result
from validate.ground import site
from validate.ground.local import LocalGround
from validate.ground.machine import local
from validate.suites.chaos import aim, experiment, members, recovery, spec
from validate.suites.chaos.envelope import Envelope, Injection
from validate.suites.plan import StepOutcome, Tools

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces and mounts need root"),
]


def fault(do: dict[str, object], **change: object) -> spec.Fault:
    return spec.Fault.model_validate(
        {
            "name": "tried",
            "do": do,
            "target": "leader",
            "duration_s": 3,
            "bounds": {"max_gap_s": 30, "recovered_s": 60},
            "rationale": "to see it proved",
            "remediation": "nothing to mend",
            **change,
        }
    )


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalGround]:
    root = tmp_path_factory.mktemp("chaos")
    with pytest.MonkeyPatch.context() as patch, running(toy.make("toyc", ["kv"]), root):
        patch.setenv("APADANA_STATE", str(root))
        yield LocalGround(site.load("toyc"))


class Tried:
    """An experiment on kv with its results by name."""

    def __init__(self, ground: LocalGround, folder: Path, one: spec.Fault) -> None:
        self.root = str(folder / "faults")
        self.told: list[str] = []
        tools = Tools(ground, folder, self.told.append, lambda _: None)
        kv = ground.site.platform.component("kv")
        self.experiment = experiment.Experiment(tools, one, kv, [kv], self.root, before_s=1.5)
        self.outcome = StepOutcome()

    def run(self) -> Tried:
        self.outcome = self.experiment.run()
        return self

    def of(self, name: str) -> Result:
        found = {r.name.partition(": ")[2]: r for r in self.outcome.results}
        assert name in found, [(r.name, r.detail) for r in self.outcome.results]
        return found[name]


def test_a_killed_leader_is_proved_audited_and_leaves_nothing(ground: LocalGround, tmp_path: Path) -> None:
    tried = Tried(ground, tmp_path, fault({"kind": "member-kill"})).run()
    for name in (
        "preflight",
        "fault proved",
        "whole again",
        "writes flow again",
        "nothing left behind",
        "acknowledged writes",
    ):
        assert tried.of(name).verdict == "PASS", (name, tried.of(name).detail)
    curve = tried.of("acknowledged writes").evidence["curve"]
    assert sum(curve["counts"]) > 0
    (matrix,) = [t for t in tried.outcome.tables if t.title == "Store x fault"]
    assert len(matrix.rows) == 1
    assert len(matrix.rows[0]) == len(matrix.columns)
    assert Envelope(local(), tried.root).left() == []


def test_an_injector_that_does_nothing_is_invalid(ground: LocalGround, tmp_path: Path) -> None:
    tried = Tried(ground, tmp_path, fault({"kind": "freeze"}))

    def lazy(one: spec.Fault, at: aim.Aim, outside: aim.Outside) -> list[aim.Shot]:
        planned = aim.shots(one, at, outside)
        return [aim.Shot(s.host, Injection(s.injection.kind, ":"), s.member) for s in planned]

    tried.experiment.shots_of = lazy
    tried.run()
    assert tried.of("fault proved").verdict == "INVALID"
    assert "not proved" in tried.of("fault proved").detail
    assert tried.of("acknowledged writes").verdict == "INVALID"
    assert not any(r.verdict == "FAIL" for r in tried.outcome.results)


def test_a_member_that_starts_again_before_its_fault_is_hit_all_the_same(ground: LocalGround, tmp_path: Path) -> None:
    tried = Tried(ground, tmp_path, fault({"kind": "freeze"}, target="one member"))
    seen: list[tuple[str, ...]] = []

    def restarting(one: spec.Fault, at: aim.Aim, outside: aim.Outside) -> list[aim.Shot]:
        (member,) = at.members
        if not seen:
            ground.machine(member.host).run(f"kill -9 {member.pid}")
        seen.append(member.processes)
        return aim.shots(one, at, outside)

    tried.experiment.shots_of = restarting
    tried.run()
    assert tried.of("fault proved").verdict == "PASS", tried.of("fault proved").detail
    first, second = seen
    assert first != second


def test_what_breaks_more_than_asked_is_refused_untouched(ground: LocalGround, tmp_path: Path) -> None:
    tried = Tried(ground, tmp_path, fault({"kind": "freeze"}, target="quorum")).run()
    (only,) = tried.outcome.results
    assert only.verdict == "INVALID"
    assert "kv would lose its quorum, and the fault says that it continues" in only.detail
    assert tried.told == []


def test_an_earlier_fault_is_refused_and_recovered(ground: LocalGround, tmp_path: Path) -> None:
    tried = Tried(ground, tmp_path, fault({"kind": "freeze"}))
    envelope = Envelope(ground.machine("h1"), tried.root)
    for host in ("h1", "h2", "h3"):
        with suppress(Exception):  # they share one folder: the first one makes the fault
            Envelope(ground.machine(host), tried.root).apply("old", Injection("test", ":"), 600)
    tried.run()
    assert "an earlier fault is still there" in tried.outcome.results[0].detail
    found = recovery.recover(ground, lambda _: None, tried.root)
    assert found.wrong == []
    assert any("old undone" in line for line in found.undone)
    assert envelope.left() == []


def test_ctrl_c_in_mid_fault_undoes_it(ground: LocalGround, tmp_path: Path) -> None:
    """A validator of its own, interrupted while the fault lasts."""
    root = tmp_path / "faults"
    program = f"""
import signal
from pathlib import Path
from tests.engine.test_chaos_toy import Tried, fault
from validate.ground import site
from validate.ground.local import LocalGround
# What is started in the background of a script ignores it.
signal.signal(signal.SIGINT, signal.default_int_handler)
ground = LocalGround(site.load("toyc"))
Tried(ground, Path({str(tmp_path)!r}), fault({{"kind": "freeze"}}, duration_s=120)).run()
"""
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE)
    envelope = Envelope(local(), str(root))

    def applied() -> bool:
        assert process.poll() is None, process.stderr and process.stderr.read().decode()
        return root.is_dir() and any(left.state == "applied" for left in envelope.left())

    until("the fault", applied, 90)
    process.send_signal(2)
    drain = threading.Thread(target=process.communicate, daemon=True)
    drain.start()
    assert process.wait(60) != 0
    assert envelope.left() == []
    kv = ground.site.platform.component("kv")
    states = [
        ground.machine(m.host).run(f"cat /proc/{m.pid}/stat").rpartition(")")[2].split()[0]
        for m in members.locate(ground, kv)
    ]
    assert len(states) == 3
    assert "T" not in states
