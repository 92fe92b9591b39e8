"""A setting of API servers that is changed reaches the control planes that stand, one after the other.

pytest -s -m campaign tests/campaign/test_control_plane_settings.py
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests import lab
from tests.campaign.setting_round import as_it_was, site
from tests.drifts import reports
from validate.core.errors import ClusterError

pytestmark = pytest.mark.campaign
FLAG = "--audit-log-maxbackup"
TOLD = f"kubernetes: settings kube-apiserver: {FLAG}"
#: Processes by name, each with when it began; the API server's flag.
LOOK = f"""
for name in etcd kube-apiserver kube-controller-manager kube-scheduler; do
  echo "$name $(ps -o lstart= -p "$(pgrep -o -x "$(echo $name | cut -c -15)")")"
done
tr '\\0' '\\n' < "/proc/$(pgrep -o -x kube-apiserver)/cmdline" | grep -e {FLAG}
"""
SILENCE_S = 15.0  # of the API, while one of three of its servers starts anew


def planes() -> list[str]:
    return [host for host in lab.hosts() if host.startswith("cp")]


def settings(**changed: int) -> tuple[str, str]:
    return ("-e", json.dumps(changed))


def parts() -> dict[str, dict[str, str]]:
    """By host and name: when a part was started; the flag as the API server runs with it."""
    found = {}
    for host in planes():
        words = [line.partition(" ") for line in lab.on_host(host, LOOK).splitlines()]
        found[host] = {name: rest for name, _, rest in words if rest}
        found[host][FLAG] = next(name for name, _, _ in words if name.startswith(FLAG)).partition("=")[2]
    return found


@contextmanager
def asked_all_along() -> Iterator[list[float]]:
    """Asks the API as its users do; in the end the longest time without an answer, in seconds."""
    found, ended, last = [0.0], threading.Event(), time.monotonic()

    def ask() -> None:
        nonlocal last
        while not ended.wait(0.5):
            try:
                lab.cluster().run("get", "--raw", "/version", timeout=10)
            except ClusterError:
                continue
            found[0], last = max(found[0], time.monotonic() - last), time.monotonic()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield found
    finally:
        ended.set()
        asking.join()


@pytest.fixture(autouse=True)
def whole() -> Iterator[None]:
    with as_it_was():
        yield


def test_a_changed_setting_reaches_control_planes_that_stand_and_those_who_join_later() -> None:
    before, changed = parts(), settings(kubernetes_audit_files=6)
    check = lab.playbook("check", *changed)
    assert check.returncode != 0
    assert {host for host, lines in reports(check.stdout).items() if TOLD in lines} == set(planes())
    assert parts() == before
    with asked_all_along() as silence:
        site(*changed)
    print(f"longest time without an answer of the API: {silence[0]:.1f} s")
    assert silence[0] < SILENCE_S
    after = parts()
    assert {told[FLAG] for told in after.values()} == {"6"}
    for host, told in after.items():
        begun = {name for name in told if name != FLAG and told[name] != before[host][name]}
        assert "kube-apiserver" in begun and "etcd" not in begun, f"{host}: {begun}"
    held = lab.cluster().json("-n", "kube-system", "get", "configmap", "kubeadm-config")["data"]
    assert re.search(rf'name: {FLAG.strip("-")}\s+value: "6"', held["ClusterConfiguration"]), held
    assert not re.search(r"changed=[1-9]", site(*changed))
    assert parts() == after


def test_what_an_api_server_can_not_start_with_is_put_back_and_stays_on_one_host() -> None:
    before = parts()
    said = site(*settings(kubernetes_audit_files=-6, kubernetes_part_deadline_seconds=90), well=False)
    told = " ".join(said.split())
    assert "Its former manifest was put back, and works as before" in told
    assert "No other host was touched after this one" in told
    after, (first, *others) = parts(), planes()
    assert after[first][FLAG] == before[first][FLAG] and after[first]["etcd"] == before[first]["etcd"]
    assert {host: after[host] for host in others} == {host: before[host] for host in others}
