"""Certificates of all stores, and of the control planes, renewed, and ended, under audited writes.

What is to be seen: a renewal rolls the members and loses nothing; where nobody renewed, everybody
is kept out (and not let in unchecked), nothing is lost, and one `make up`, or `renew.yml`, makes all whole again.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common.places import REPOSITORY
from components.kit.probing import Check
from tests import lab, labplanes
from tests.certificates import ending
from tests.rolling import audited, damage, roll
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.campaign
PKI = lab.STATE / "pki"
LEFT_S = 200.0  # of the planted leaves: long enough to roll every member of every store
PLANES_LEFT_S = 60.0  # of those of kubeadm's: long enough to write them on every control plane


def stores_tls() -> list[str]:
    return sorted(path.stem for path in PKI.glob("*-tls.crt"))


def ways_in() -> lab.Done:
    return lab.validate("safety", "--steps", "safety/*/ways-in", timeout=900)


def test_a_renewal_loses_nothing(tmp_path: Path) -> None:
    before = {name: (PKI / f"{name}.crt").read_bytes() for name in stores_tls()}
    with audited(tmp_path) as found:
        for name in before:
            (PKI / f"{name}.crt").unlink()
        done = lab.make_up()
        assert done.returncode == 0, lab.told(done)
    assert before
    assert all((PKI / f"{name}.crt").read_bytes() != old for name, old in before.items())
    report(found)


def test_ended_certificates_keep_everybody_out_until_make_up(tmp_path: Path) -> None:
    with audited(tmp_path) as found:
        end = datetime.now(UTC) + timedelta(seconds=LEFT_S)
        for name in stores_tls():
            _replace(name, ending(PKI / f"{name}.crt", end))
        roll()
        assert datetime.now(UTC) < end, "LEFT_S is too short for this machine"
        wait_for("the certificates to end", lambda: time.time() > end.timestamp() or None, timeout=LEFT_S + 10, every=1)
        closed = ways_in()
        assert closed.returncode == 1, lab.told(closed)
        assert "expired" in closed.stdout, lab.told(closed)
        for name in stores_tls():  # as they would be on a site where nobody ran `make up`
            (PKI / f"{name}.crt").write_bytes(ending(PKI / f"{name}.crt", end))
        begin = time.monotonic()
        done = lab.make_up()
        assert done.returncode == 0, lab.told(done)
        print(f"make up: whole again after {time.monotonic() - begin:.0f} s")
    opened = ways_in()
    assert opened.returncode == 0, lab.told(opened)
    report(found)


def renewed(*more: str) -> str:
    begin = time.monotonic()
    done = lab.playbook("renew", *more, timeout=1500)
    assert done.returncode == 0, lab.told(done)
    print(f"renew.yml {' '.join(more)}: {time.monotonic() - begin:.0f} s")
    return done.stdout


def nothing_left() -> None:
    """A further run changes nothing, and the cluster is whole."""
    told = renewed()
    assert "nothing is to be done" in told and not re.search(r"changed=[1-9]", told), told[-2000:]
    lab.assert_whole()


def test_all_certificates_of_control_planes_are_renewed_though_the_run_is_killed(tmp_path: Path) -> None:
    """At a moment when the first host is done and the second one is not."""
    before, planes = labplanes.parts(), lab.control_planes()
    command = [str(lab.BIN / "ansible-playbook"), "-i", f"inventories/{lab.SITE}/hosts.yml", "playbooks/renew.yml"]
    with audited(tmp_path) as found:
        with (tmp_path / "killed.log").open("wb") as log:
            process = subprocess.Popen([*command, "-e", "all=true"], cwd=REPOSITORY, stdout=log, stderr=log)
        begun = f"etcd-{planes[1]}"
        wait_for("the second host's turn", lambda: begun in now_other(before) or None, timeout=900, every=1)
        process.kill()
        process.wait()
        renewed("-e", "all=true")
    assert labplanes.started(before, labplanes.parts()) == set(before)
    soonest = datetime.now(UTC) + timedelta(days=360)
    assert all(labplanes.ends(host) > soonest for host in planes)
    nothing_left()
    report(found)


def now_other(before: dict[str, str]) -> set[str]:
    return labplanes.started(before, labplanes.parts())


def test_control_planes_whose_certificates_have_ended_are_whole_after_a_renewal(tmp_path: Path) -> None:
    """They refuse each other and everybody else; stores go on without them."""
    names = (
        *("pki/apiserver.crt", "pki/apiserver-etcd-client.crt", "pki/etcd/server.crt", "pki/etcd/peer.crt"),
        *("pki/etcd/healthcheck-client.crt", "admin.conf", "controller-manager.conf", "scheduler.conf"),
    )
    with audited(tmp_path) as found:
        end = datetime.now(UTC) + timedelta(seconds=PLANES_LEFT_S)
        for host in lab.control_planes():
            labplanes.plant_on(host, names, end)
        assert datetime.now(UTC) < end, "PLANES_LEFT_S is too short for this machine"
        wait_for("the end", lambda: time.time() > end.timestamp() or None, timeout=PLANES_LEFT_S + 10, every=1)
        assert not any(labplanes.believed(host) for host in lab.control_planes())
        assert "it has ended" in renewed()
        assert all(labplanes.believed(host) for host in lab.control_planes())
    nothing_left()
    report(found)


def report(found: dict[str, Check]) -> None:
    for store, check in found.items():
        print(f"{store}: {check.detail}")
    assert damage(found) == {}


def _replace(name: str, chain: bytes) -> None:
    """In its Secret, as the manager that made it: another one's fields would stay in its way."""
    cluster, namespace = lab.cluster(), lab.found().platform.namespace
    secret = cluster.json("-n", namespace, "get", "secret", name, "--show-managed-fields")
    manager = secret["metadata"].pop("managedFields")[0]["manager"]
    for key in ("uid", "resourceVersion", "creationTimestamp"):
        del secret["metadata"][key]
    secret["data"]["tls.crt"] = base64.b64encode(chain).decode()
    cluster.run("apply", "--server-side", f"--field-manager={manager}", "-f", "-", stdin=json.dumps(secret).encode())
