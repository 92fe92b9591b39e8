"""Settings of a kubelet that stands: what of its file, its mark and itself is not as wanted, one thing at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit import test_observed_state

kubelet = test_observed_state.kubelet
SETTINGS = {"kind": "KubeletConfiguration", "maxPods": 110, "nodeStatusReportFrequency": "5m"}
START = 1_700_000_000.5
STARTED = "ExecMainStartTimestamp=Tue 2023-11-14 22:13:20.500000 UTC\n"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubelet that runs with what kubeadm made of the settings; systemd's answer is as it gives it."""
    for name, file in (("CONFIG", "config.yaml"), ("MARK", ".apadana-settings")):
        monkeypatch.setattr(kubelet, name, tmp_path / file)
    monkeypatch.setattr(kubelet, "run", lambda *command, **_: STARTED)
    kubelet.put(b"maxPods: 110\nnodeStatusReportFrequency: 5m0s\n")
    os.utime(kubelet.CONFIG, (START - 1, START - 1))
    kubelet.mark(SETTINGS)
    return tmp_path


def test_what_is_as_wanted_is_no_difference(place: Path) -> None:
    assert list(kubelet.seen(SETTINGS)) == []


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({**SETTINGS, "maxPods": 200}, [("maxPods 200", "110")]),
        ({**SETTINGS, "readOnlyPort": 0}, [("readOnlyPort 0", "absent")]),
        ({"kind": "KubeletConfiguration", "maxPods": 110}, [("nodeStatusReportFrequency absent", "5m")]),
        ({**SETTINGS, "evictionHard": {"b": "1", "a": "2"}}, [('evictionHard {"a": "2", "b": "1"}', "absent")]),
    ],
    ids=["changed", "new", "no longer wanted", "nested"],
)
def test_settings_that_were_changed_are_told_by_name(
    place: Path, wanted: dict[str, Any], told: list[tuple[str, str]]
) -> None:
    assert list(kubelet.seen(wanted)) == told


def edit() -> None:
    kubelet.CONFIG.write_text(kubelet.CONFIG.read_text().replace("110", "99"))
    os.utime(kubelet.CONFIG, (START - 1, START - 1))


@pytest.mark.parametrize(
    ("harm", "wanted", "seen"),
    [
        (lambda: kubelet.MARK.unlink(), "as site.yml has them", "as they were when the host joined"),
        (lambda: kubelet.MARK.write_text("{half"), "as site.yml has them", "as they were when the host joined"),
        (lambda: kubelet.MARK.write_text("[]"), "as site.yml has them", "as they were when the host joined"),
        (edit, "what kubeadm made (sha256:", "edited since (sha256:"),
        (lambda: kubelet.CONFIG.unlink(), "what kubeadm made (sha256:", "edited since (absent)"),
        (
            lambda: os.utime(kubelet.CONFIG, (START + 1, START + 1)),
            "read by kubelet.service",
            "written after its start",
        ),
    ],
    ids=["no mark", "half a mark", "another mark", "edited by hand", "gone", "written and not read"],
)
def test_each_drift_is_seen(place: Path, harm: Callable[[], object], wanted: str, seen: str) -> None:
    harm()
    ((is_wanted, is_seen),) = kubelet.seen(SETTINGS)
    assert is_wanted.startswith(wanted) and is_seen.startswith(seen)


def test_a_host_that_is_no_member_yet_has_no_settings_to_keep_to(place: Path) -> None:
    entry = {"content": json.dumps({**SETTINGS, "maxPods": 5}), "needs": str(place / "member")}
    assert list(kubelet.differences({"settings": [entry]})) == []
    (place / "member").touch()
    ((kind, name, wanted, seen),) = kubelet.differences({"settings": [entry]})
    assert (kind, name, wanted, seen) == ("settings", str(kubelet.CONFIG), "maxPods 5", "110")


def test_a_kubelet_that_does_not_run_is_not_late(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubelet, "run", lambda *command, **_: "ExecMainStartTimestamp=\n")
    assert not kubelet.late()


def test_the_same_text_keeps_its_time(place: Path) -> None:
    """Otherwise a kubelet would be started anew for nothing."""
    before = kubelet.CONFIG.stat()
    kubelet.put(kubelet.CONFIG.read_bytes())
    assert kubelet.CONFIG.stat() == before
    kubelet.put(b"maxPods: 1\n")
    assert kubelet.CONFIG.stat().st_ino != before.st_ino and kubelet.late()


@pytest.mark.parametrize(
    ("wanted", "runs", "told"),
    [
        ({"a": "5m"}, {"a": "5m0s", "more": 1}, []),
        ({"a": "90s"}, {"a": "1m30s"}, []),
        ({"a": "1h"}, {"a": "60m1s"}, ["a: wanted 1h, runs with 60m1s"]),
        ({"a": 0, "b": False, "c": "0s", "d": ""}, {}, []),
        ({"a": 1}, {}, ["a: wanted 1, runs with nothing"]),
        ({"a": False}, {"a": True}, ["a: wanted false, runs with true"]),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, ["a.b.c: wanted 1, runs with 2"]),
        ({"a": {"b": 1}}, {"a": "text"}, ["a.b: wanted 1, runs with nothing"]),
        ({"a": ["10.0.0.1"]}, {"a": ["10.0.0.1"]}, []),
        ({"a": ["10.0.0.1"]}, {"a": []}, ['a: wanted ["10.0.0.1"], runs with []']),
        ({"a": "100Mi"}, {"a": "100Mi"}, []),
        ({"a": "5m"}, {"a": "5"}, ["a: wanted 5m, runs with 5"]),
    ],
)
def test_what_a_kubelet_runs_with_is_compared_by_what_it_means(
    wanted: dict[str, Any], runs: dict[str, Any], told: list[str]
) -> None:
    assert list(kubelet.apart(wanted, runs)) == told
