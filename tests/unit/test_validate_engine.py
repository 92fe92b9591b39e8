"""Verdicts, coverage, pods, network and hosts: the engine without a cluster."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from common import locking
from components.kit import contract
from components.kit.probing import Verdict
from tests.commands import CommandLine
from validate.__main__ import main
from validate.audit.session import is_flowing
from validate.campaign import lock
from validate.core.errors import ClusterError, NotValidError, ValidateError
from validate.core.model import overall
from validate.ground import site as sites
from validate.ground.cluster import pick
from validate.ground.kubectl import Cluster, wait_for
from validate.ground.nodes import Node, node_from, role_of
from validate.ground.pods import PodSpec, code_tar, leave, unpack
from validate.ground.site import REPOSITORY
from validate.ground.targets import describe, volumes
from validate.pod import net
from validate.suites import coverage
from validate.suites.checks import network
from validate.suites.smoke import PROBE

KAFKA = contract.Component(
    name="kafka",
    version="4.2.0",
    mode="managed",
    secret_ref="kafka-client-probe",
    ca_ref="site-ca",
    members=[contract.Member(name="kafka-0", role="combined")],
    endpoints_in=[contract.Endpoint(protocol="kafka", address="kafka-0.k:9092,kafka-1.k:9092")],
    promises=contract.Promises(survives="a host", recovery_seconds=12, loss="none"),
)


@pytest.mark.parametrize(
    ("seen", "whole"),
    [
        ([], Verdict.INVALID),
        ([Verdict.PASS], Verdict.PASS),
        ([Verdict.PASS, Verdict.INVALID], Verdict.INVALID),
        ([Verdict.PASS, Verdict.INVALID, Verdict.FAIL], Verdict.FAIL),
    ],
)
def test_invalid_is_never_pass(seen: list[Verdict], whole: Verdict) -> None:
    assert overall(seen) is whole


def test_a_room_without_probe_fails_coverage(tmp_path: Path) -> None:
    rooms = tmp_path / "components"
    (rooms / "kafka").mkdir(parents=True)
    (check,) = coverage.checks([KAFKA], rooms, PROBE)
    assert check.verdict is Verdict.FAIL and "components/kafka/probe.py" in check.detail
    (rooms / "kafka" / "probe.py").touch()
    assert [c.verdict for c in coverage.checks([KAFKA], rooms, PROBE)] == [Verdict.PASS]
    assert [c.verdict for c in coverage.checks([], rooms, PROBE)] == [Verdict.INVALID]


def test_no_secret_is_in_what_describes_a_target() -> None:
    described = describe(KAFKA)
    assert described["mounted"] == "/etc/apadana/kafka"
    assert "kafka-client-probe" not in json.dumps(described)
    made, mounts = volumes([KAFKA])
    sources = made[0]["projected"]["sources"]
    assert sources[0]["configMap"]["name"] == "site-ca"
    assert sources[1] == {"secret": {"name": "kafka-client-probe"}}
    assert mounts[0]["readOnly"] is True


def test_the_pod_is_restricted_pinned_and_ends_by_itself() -> None:
    spec = PodSpec("p", "ns", "apadana.local/clients@sha256:0", "run1", "client", "cp1", True)
    made = spec.manifest()
    pod, container = made["spec"], made["spec"]["containers"][0]
    assert made["metadata"]["labels"]["apadana.io/client"] == "true"
    assert pod["nodeSelector"] == {"kubernetes.io/hostname": "cp1"}
    assert pod["activeDeadlineSeconds"] > 0
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {m["mountPath"] for m in container["volumeMounts"]} == {"/tmp", "/work"}
    assert any(t["key"] == "nvidia.com/gpu" for t in pod["tolerations"])
    plain = PodSpec("p", "ns", "i", "r", "node").manifest()
    assert "apadana.io/client" not in plain["metadata"]["labels"]
    assert "nodeSelector" not in plain["spec"]


def test_the_streamed_code_imports_with_the_standard_library_alone(tmp_path: Path) -> None:
    """What the pod gets must run where neither pydantic nor typer is installed."""
    data = code_tar(REPOSITORY, b'[{"name": "nothing"}]')
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        names = tar.getnames()
    unpack(data, tmp_path)
    assert "components/kit/probing.py" in names
    assert not any("secret" in name for name in names)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
    code += "import validate.pod.audit, validate.pod.smoke, components.kit.probing"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr


ALLOWED = {"ok": True, "seen": "10.0.0.1", "began": 100.0}
REFUSED = {"ok": False, "seen": "refused", "began": 100.2}
WELL = {"reached": True}


@pytest.mark.parametrize(
    ("allowed", "forbidden", "after", "verdict"),
    [
        (ALLOWED, REFUSED, WELL, Verdict.PASS),
        (ALLOWED, {**REFUSED, "ok": True}, WELL, Verdict.FAIL),
        (REFUSED, REFUSED, WELL, Verdict.FAIL),
        (ALLOWED, REFUSED, {"reached": False}, Verdict.INVALID),
        (ALLOWED, {**REFUSED, "began": 101.5}, WELL, Verdict.INVALID),
    ],
)
def test_policy_verdicts(
    allowed: dict[str, Any], forbidden: dict[str, Any], after: dict[str, Any], verdict: Verdict
) -> None:
    got, _ = network.policy_verdict({"allowed": allowed, "forbidden": forbidden}, after)
    assert got is verdict


@pytest.mark.parametrize(
    ("first", "second", "wanted", "found"),
    [
        ([(0.0, True), (2.0, True)], [(2.5, False)], (True, False), True),
        ([(0.0, True)], [(2.5, False)], (True, False), False),
        ([(0.0, True), (2.0, True)], [(0.1, True), (2.0, False)], (True, True), True),
        ([(0.0, False)], [(0.0, False)], (True, False), False),
    ],
)
def test_both_sides_must_be_seen_in_the_same_second(
    first: list[tuple[float, bool]], second: list[tuple[float, bool]], wanted: tuple[bool, bool], found: bool
) -> None:
    a, b = ([{"began": at, "ok": ok} for at, ok in side] for side in (first, second))
    assert network.same_moment(a, b, wanted)[1] is found


def test_policies_name_only_this_run() -> None:
    for made in (leave("r1", "ns"), network.enter("r1", "ns"), network.strict("r1", "ns")):
        assert made["spec"]["podSelector"]["matchLabels"]["apadana.io/validate-run"] == "r1"
    (rule,) = network.strict("r1", "ns")["spec"]["ingress"]
    (peer,) = rule["from"]
    assert peer["podSelector"]["matchLabels"]["apadana.io/validate-role"] == "allowed"
    assert [role_of(i) for i in range(4)] == ["server", "allowed", "forbidden", "observer"]


def test_net_says_what_it_saw() -> None:
    import socket

    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        good, bad, name = net.main(
            [
                {"kind": "tcp", "host": "127.0.0.1", "port": port},
                {"kind": "tcp", "host": "127.0.0.1", "port": 1},
                {"kind": "dns", "name": "localhost"},
            ]
        )
    assert good["ok"] and not bad["ok"] and "Refused" in bad["seen"]
    assert name["seen"] == "127.0.0.1"


def node(name: str, control_plane: bool = True, ready: bool = True) -> Node:
    return Node(name, "10.0.0.1", ready, control_plane)


def test_clients_go_to_a_host_that_lives_and_onlookers_to_another() -> None:
    all_nodes = [node("cp1"), node("cp2"), node("gpu1", control_plane=False)]
    assert pick(all_nodes, "audit", ("cp1",)).name == "gpu1"
    assert pick(all_nodes, "audit", ("gpu1",)).name == "cp1"
    assert pick(all_nodes, "observer", ("cp1",)).name == "cp2"
    with pytest.raises(NotValidError, match="no Ready host is left for a client beside cp1"):
        pick([node("cp1"), node("cp2", ready=False)], "audit", ("cp1",))


def test_flowing_means_every_client_and_the_pods_own_clock() -> None:
    fresh = {"wall": 100.0, "last_ack": {"0": 99.5, "1": 98.5}}
    assert is_flowing(fresh, 2)
    assert not is_flowing(fresh, 3)
    assert not is_flowing({**fresh, "wall": 101.0}, 2)
    assert not is_flowing({"state": "absent"}, 2)


def test_node_without_conditions_is_not_ready() -> None:
    made = node_from({"metadata": {"name": "x"}, "status": {}})
    assert not made.ready and made.why == "no Ready condition"


def fake_kubectl(folder: Path, script: str) -> Cluster:
    path = folder / "kubectl"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Cluster(folder / "kubeconfig", path)


def test_every_command_has_a_deadline(tmp_path: Path) -> None:
    hangs = fake_kubectl(tmp_path, "exec sleep 30")
    with pytest.raises(ClusterError, match=r"no answer within 0\.2 s"):
        hangs.run("get", "nodes", timeout=0.2)
    with pytest.raises(ClusterError, match=r"not finished within 0\.2 s"):
        list(hangs.exec_lines("ns", "pod", ["true"], timeout=0.2))


def test_a_failing_command_says_what_and_why(tmp_path: Path) -> None:
    fails = fake_kubectl(tmp_path, "echo 'no such host' >&2; exit 1")
    with pytest.raises(ClusterError, match="kubectl get nodes: no such host"):
        fails.run("get", "nodes")
    with pytest.raises(ClusterError, match="no such host"):
        list(fails.exec_lines("ns", "pod", ["true"], timeout=5))


def test_waiting_names_what_it_waited_for() -> None:
    with pytest.raises(ClusterError, match="waiting for rain"):
        wait_for("rain", lambda: None, timeout=0.05, every=0.01)


def make_site(root: Path, name: str, says: str | None = None) -> None:
    folder = root / name
    folder.mkdir(parents=True)
    data = {
        "site": says or name,
        "deployer": "pulumi",
        "namespace": "platform",
        "bundle_digest": "sha256:" + "0" * 64,
        "components": [KAFKA.model_dump(mode="json")],
    }
    (folder / "platform.json").write_text(json.dumps(data))
    (folder / "kubeconfig").write_text("{}")


def test_a_stack_name_finds_its_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APADANA_STATE", str(tmp_path))
    make_site(tmp_path, "lab")
    assert sites.load("lab-data").name == sites.load("lab").name == "lab"
    with pytest.raises(ValidateError, match=r"no site 'prod'.*: lab"):
        sites.load("prod")
    with pytest.raises(ValidateError, match="has no such component; it has: kafka"):
        sites.load("lab").components("kafak")
    make_site(tmp_path, "other", says="lab")
    with pytest.raises(ValidateError, match="contract of site 'lab', not 'other'"):
        sites.load("other")


@pytest.mark.parametrize(
    ("args", "code", "word"),
    [
        (["smoke", "--stack", "nowhere"], 2, "no site 'nowhere'"),
        (["smoke"], 2, "--stack"),
        (["smoke", "--stack", "lab", "--only", "kafak"], 2, "it has: kafka"),
        (["ha", "--stack", "lab", "--rate", "0"], 2, "--rate"),
    ],
)
def test_wrong_use_ends_with_2(
    args: list[str],
    code: int,
    word: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_site(tmp_path, "lab")
    monkeypatch.setenv("APADANA_STATE", str(tmp_path))
    ended, said = CommandLine(main, monkeypatch, capsys).run(*args)
    assert ended == code
    assert word in said


def test_no_host_is_killed_while_another_hand_holds_the_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APADANA_STATE", str(tmp_path))
    make_site(tmp_path, "lab")
    with lock.held(sites.load("lab"), "make up"):
        done = validate(tmp_path, "ha", "--stack", "lab")
    assert done.returncode == 2
    assert "for `make up`. Nothing was changed." in " ".join(done.stderr.split())


def validate(state: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """The command line, as another hand than this process gives it."""
    mine = {name: value for name, value in os.environ.items() if name != locking.TOKEN}
    return subprocess.run(
        [sys.executable, "-m", "validate", *args],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env={**mine, "APADANA_STATE": str(state), "NO_COLOR": "1"},
    )
