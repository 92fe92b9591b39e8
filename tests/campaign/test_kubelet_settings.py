"""A setting of kubelets that is changed reaches the hosts that stand, one after the other, and is told before.

pytest -s -m campaign tests/campaign/test_kubelet_settings.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests import lab
from tests.campaign.setting_round import as_it_was, site
from tests.drifts import reports
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.campaign
CONFIG = "/var/lib/kubelet/config.yaml"
TOLD = f"kubernetes: settings {CONFIG}"
#: Seconds since 1970 at which the kubelet was started.
SINCE = 'date +%s -d "$(systemctl show --value --property=ExecMainStartTimestamp kubelet.service)"\n'


def most(pods: int) -> tuple[str, str]:
    return ("-e", json.dumps({"kubernetes_max_pods": pods}))


def since() -> dict[str, int]:
    return {host: int(lab.on_host(host, SINCE)) for host in lab.hosts()}


def runs_with() -> dict[str, int]:
    """By the word of each kubelet."""
    ask = "/api/v1/nodes/{}/proxy/configz"
    found = {host: lab.cluster().json("get", "--raw", ask.format(host)) for host in lab.hosts()}
    return {host: told["kubeletconfig"]["maxPods"] for host, told in found.items()}


@pytest.fixture(autouse=True)
def whole() -> Iterator[None]:
    with as_it_was():
        yield


def test_a_changed_setting_reaches_hosts_that_stand_and_those_who_join_later() -> None:
    before = since()
    check = lab.playbook("check", *most(111))
    assert check.returncode != 0
    assert {host for host, lines in reports(check.stdout).items() if TOLD in lines} == set(lab.hosts())
    assert since() == before
    site(*most(111))
    assert set(runs_with().values()) == {111}
    moments = sorted(since().values())
    # Each was healthy, and Ready by its own word, before the next one was restarted.
    assert all(later > earlier for earlier, later in pairwise(moments)), moments
    held = lab.cluster().json("-n", "kube-system", "get", "configmap", "kubelet-config")["data"]["kubelet"]
    assert json.loads(held)["maxPods"] == 111
    after = since()
    assert not re.search(r"changed=[1-9]", site(*most(111)))
    assert since() == after
    assert lab.playbook("check", *most(111)).returncode == 0


def test_what_a_kubelet_can_not_start_with_stays_on_one_host() -> None:
    before = since()
    told = site(*most(-1), well=False)
    assert "No other host was touched after this one" in " ".join(told.split())
    first, *others = lab.hosts()
    assert {host: since()[host] for host in others} == {host: before[host] for host in others}
    assert lab.on_host(first, f"grep -c 'maxPods: -1' {CONFIG} || true").strip() == "1"
    site()
    wait_for("the kubelet", lambda: runs_with()[first] == 110 or None, timeout=120, every=2)


def test_a_flag_that_stands_above_the_settings_is_told_by_the_kubelet_s_own_word() -> None:
    host, flags = lab.hosts()[-1], "/var/lib/kubelet/kubeadm-flags.env"
    restart = "systemctl restart kubelet.service\n"
    lab.on_host(host, f"cp {flags} /root/flags; sed -i 's/\"$/ --max-pods=55\"/' {flags}; {restart}")
    try:
        wait_for("the flag to count", lambda: runs_with()[host] == 55 or None, timeout=120, every=2)
        check = lab.playbook("check")
        assert check.returncode != 0
        assert "maxPods: wanted 110, runs with 55" in " ".join(check.stdout.split())
    finally:
        lab.on_host(host, f"mv /root/flags {flags}; {restart}")
        wait_for("the kubelet", lambda: runs_with()[host] == 110 or None, timeout=120, every=2)
