"""A host that Debian alone made joins, works, and leaves: no role lives by what the lab's own hands put on its hosts.

    pytest -s -m campaign tests/campaign/test_bare_host.py

The trials stand on each other, in this order. Whatever ends them, the host goes and the lab forgets it; after a
`kill -9` the next run does that first, or `make down`.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from components.kit.probing import Verdict
from road.reading import changes
from tests import bare_host, lab, snapshot
from tests.bare_host import ADDRESS, LACKING, NAME, POOL, play
from tests.drift_round import check_is_clean
from validate.ground.kubectl import wait_for
from validate.ground.nodes import DOMAIN, Context, node_pods, nodes
from validate.ground.pods import RUN_LABEL, leave, new_run_id, pods
from validate.suites.checks import network
from validate.suites.checks.doors import cluster_ca

pytestmark = pytest.mark.campaign
LOOK = f"for p in {LACKING}; do command -v $p || true; done; ls /etc/resolv.conf 2>/dev/null || true\n"
# By which a kubelet has a shutdown wait for its pods; the lab's kubelets don't ask for it (constrained.yml).
ASK_LOGIND = (
    "busctl call org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager ListInhibitors\n"
)
ASK_API = f"""
import ssl, sys, urllib.request
trusted = ssl.create_default_context(cadata=sys.argv[1])
place = "https://kubernetes.default.svc.{DOMAIN}/readyz"
print(urllib.request.urlopen(place, context=trusted, timeout=5).read().decode())
"""
# Wherever a host of the lab knows another one from.
KNOWS = f"{{ cat /etc/hosts; ip route; nft list ruleset; ipset list; }} | grep -F {ADDRESS} || true\n"
FORGOTTEN_S = 400  # kube-router looks anew every five minutes
IMAGE_S = 300


@dataclass(frozen=True)
class Lab:
    """What must be as it was."""

    nodes: dict[str, str]
    files: frozenset[str]
    machine: tuple[str, ...]

    @staticmethod
    def seen() -> Lab:
        """The hosts' files without their times: what names all hosts is written twice, and is the same again."""
        items = lab.cluster().json("get", "nodes")["items"]
        return Lab(
            nodes={item["metadata"]["name"]: item["metadata"]["uid"] for item in items},
            files=frozenset(re.sub(r" \d+\.\d+$", "", line) for line in snapshot.hosts()),
            machine=tuple(sorted(of_machine())),
        )


def of_machine() -> Iterator[str]:
    """What this machine has of containers, and what they keep of it."""
    for what in ("ps --all --format={{.Names}}", "volume ls --quiet", "images --quiet", "network ls --quiet"):
        yield from (f"{what}: {line}" for line in bare_host.podman(*what.split()).splitlines())
    done = lab.run("losetup", "--list", "--noheadings", "--output=BACK-FILE", timeout=20)
    yield from done.stdout.splitlines()


@pytest.fixture(scope="module")
def before() -> Lab:
    if bare_host.there() or bare_host.node():
        print(f"\n{NAME} is left from a run that was killed: it goes first")
        bare_host.forget()
    check_is_clean()
    return Lab.seen()


@pytest.fixture(scope="module")
def bare(before: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The machine, up; its inventory."""
    folder = tmp_path_factory.mktemp("bare")
    inventory = folder / "inventory"
    # As Ctrl-C: in order, so that what follows is undone.
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        begun = time.monotonic()
        tar = bare_host.make_root(folder)
        bare_host.write_inventory(folder)
        bare_host.start(tar)
        tar.unlink()
        print(f"\nmade by Debian and up in {time.monotonic() - begun:.1f} s")
        yield inventory
    finally:
        try:
            # What is not up was never let into the cluster, so of that nothing has to leave it.
            bare_host.leave(inventory) if bare_host.there() else bare_host.clear()
        finally:
            signal.signal(signal.SIGTERM, former)
            shutil.rmtree(folder)


@pytest.fixture(scope="module")
def joined(bare: Path) -> Path:
    begun = time.monotonic()
    play("site", inventory=bare)
    print(f"\njoined in {time.monotonic() - begun:.1f} s")
    return bare


def test_it_has_nothing_of_what_the_labs_hosts_are_given(bare: Path) -> None:
    assert lab.on_host(NAME, LOOK) == ""
    assert lab.on_host("cp1", LOOK) != ""  # the look itself finds what is there


def test_a_host_that_nothing_came_to_yet_can_be_given_back(bare: Path) -> None:
    """As after a join that failed at its first step."""
    bare_host.reset(bare)


def test_it_is_ready_and_offers_its_pool(joined: Path) -> None:
    (node,) = [node for node in nodes(lab.cluster()) if node.name == NAME]
    assert node.ready, node.why
    marks = bare_host.node()
    assert marks["metadata"]["labels"]["apadana.io/pool"] == POOL
    taints = {(taint["key"], taint["effect"]) for taint in marks["spec"]["taints"]}
    assert taints == {("nvidia.com/gpu", "NoSchedule")}


def test_a_pod_there_reaches_the_api_and_a_pod_elsewhere(joined: Path) -> None:
    site, two = lab.found(), [node for node in nodes(lab.cluster()) if node.name in (NAME, "cp1")]
    context = Context(site, site.cluster, new_run_id(), sorted(two, key=lambda node: node.name))
    rules = leave(context.run, context.namespace), network.enter(context.run, context.namespace)
    try:
        site.cluster.apply(*rules)
        with pods(site.cluster, node_pods(context), timeout=IMAGE_S) as (there, elsewhere):
            assert f"-{NAME}-" in there.name
            # Names, each of the two pods from each, a Service.
            told = {check.name: check for check in network.names_and_paths(context, (there, elsewhere))}
            assert {name: check.detail for name, check in told.items() if check.verdict is not Verdict.PASS} == {}
            assert told.keys() == network.PATHS.keys()
            ask = ("python3", "-c", ASK_API, cluster_ca(site.cluster))
            assert wait_for("the API to answer", lambda: there.run(*ask).strip() or None, timeout=30, every=1) == "ok"
    finally:
        kinds = "services,networkpolicies"
        site.cluster.delete(context.namespace, kinds, f"{RUN_LABEL}={context.run}")


def test_a_shutdown_of_it_can_be_held_back(joined: Path) -> None:
    assert lab.on_host(NAME, ASK_LOGIND).startswith("a(ssssuu)")


def test_a_second_run_changes_nothing(joined: Path) -> None:
    again = play("site", inventory=joined)
    assert NAME in again.stdout
    assert changes(again.stdout) == 0, lab.told(again)
    play("check", inventory=joined)


def test_it_comes_back_from_a_boot_as_it_was(joined: Path) -> None:
    """What a role has only started, and nobody starts at a boot, is gone now."""
    bare_host.podman("stop", "--time", "30", lab.container(NAME))
    bare_host.podman("--runtime", "runc", "start", lab.container(NAME))

    def whole() -> bool | None:
        return lab.playbook("check", inventory=joined).returncode == 0 or None

    wait_for(f"{NAME} to be as wanted after its boot", whole, timeout=300, every=2)


def test_what_its_removal_means_is_said_first(joined: Path) -> None:
    told = play("remove", "-e", f"host={NAME}", "--check", inventory=joined).stdout
    assert f"{NAME}: its node goes" in told
    assert not bare_host.node()["spec"].get("unschedulable")


def test_it_leaves_and_the_lab_is_as_it_was(joined: Path, before: Lab) -> None:
    bare_host.leave(joined)
    wait_for(f"the hosts to forget {ADDRESS}", lambda: not knowing_of_it() or None, timeout=FORGOTTEN_S, every=5)
    wait_for("the cluster to forget its pods", lambda: not speaking_of_it() or None, timeout=180, every=5)
    after = Lab.seen()
    assert after.nodes == before.nodes
    assert sorted(after.files ^ before.files) == []
    assert after.machine == before.machine
    check_is_clean()


def knowing_of_it() -> list[str]:
    return [f"{host}: {line}" for host in lab.hosts() for line in lab.on_host(host, KNOWS).splitlines()]


def speaking_of_it() -> list[str]:
    """Objects of the cluster in which its name stands."""
    named = re.compile(rf"\b{NAME}\b")
    return [snapshot.place(item) for item in snapshot.lasting(lab.cluster()) if named.search(json.dumps(item))]
