"""Every step of every runbook, run from the runbook's own text on the lab, under audited writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from road.pulumi import exports
from tests import lab, labplanes, runbooks
from tests.draining import left_on, wait_whole
from tests.rolling import audited, damage
from validate.core.errors import ClusterError
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.campaign
#: Every step there is, and the test below that runs it; tests/unit/test_runbooks.py compares.
EXECUTED = {
    "test_looking_changes_nothing": {("storage", "see"), ("postgres", "look"), ("redis", "look")},
    "test_looking_at_the_cluster_changes_nothing": {
        ("cluster", "look"),
        ("cluster", "look-at-etcd"),
        ("nodepool", "look"),
    },
    "test_etcd_gives_back_room_member_by_member": {("cluster", "make-room")},
    "test_a_control_plane_s_certificates_are_renewed": {("cluster", "renew-certificates")},
    "test_what_a_host_with_cards_lost_is_given_back": {("nodepool", "give-back")},
    "test_a_host_is_emptied_and_taken_in": {("nodepool", "empty"), ("nodepool", "take-in")},
    "test_a_primary_is_changed_in_order": {("postgres", "switch"), ("redis", "switch"), ("postgres", "restart")},
    "test_a_member_begins_anew": {("storage", "new-disk"), ("storage", "begin-anew")},
    "test_a_full_volume_grows": {("storage", "grow")},
    "test_a_replica_is_cloned": {("postgres", "clone")},
    "test_the_last_member_acknowledges_alone_by_decision": {
        ("postgres", "alone"),
        ("postgres", "together"),
        ("postgres", "promote"),
    },
}
#: A member, and its claim, of each store.
MEMBERS = {"kafka": "data-kafka", "minio": "d0-minio", "postgres": "data-postgres", "redis": "data-redis"}
PSQL = ("-c", "postgres", "--", "psql", "-h", "/run/postgresql", "-U", "postgres", "-tAc")


def shell() -> dict[str, str]:
    """What `python -m stacks.home` gives a person, in a shell of our Python."""
    found = exports(lab.run(str(lab.BIN / "python"), "-m", "stacks.home", lab.SITE, timeout=60).stdout)
    path = f"{lab.BIN}:{found.get('PATH') or os.environ['PATH']}"
    return {**found, "PATH": path, "SITE": lab.SITE, "ANSIBLE_NOCOLOR": "1"}


def follow(room: str, name: str, *, seconds: float = 900, **asked: str) -> str:
    done = runbooks.step(room, name).run({**shell(), **asked}, seconds)
    assert done.returncode == 0, f"{room}, {name}: {lab.told(done)}"
    return done.stdout


def inside(pod: str, *words: str, timeout: float = 20) -> str:
    namespace = lab.found().platform.namespace
    return lab.cluster().run("-n", namespace, "exec", pod, *words, timeout=timeout).strip()


def primary(room: str) -> str:
    """The pod that leads now."""
    namespace = lab.found().platform.namespace
    if room == "postgres":
        wish = ("get", "pods", "-l", "apadana.io/role=primary", "-o", "jsonpath={.items[0].metadata.name}")
        return lab.cluster().run("-n", namespace, *wish).strip()
    script = ". /opt/apadana/lib.sh; believed_primary"
    return inside("redis-0", "-c", "valkey", "--", "sh", "-c", script).partition(".")[0]


def replica(room: str) -> str:
    leads = primary(room) if room in ("postgres", "redis") else f"{room}-0"
    return next(pod for pod in (f"{room}-{number}" for number in range(3)) if pod != leads)


def volume(claim: str) -> tuple[str, str]:
    """Host and folder of a claim's volume."""
    cluster, namespace = lab.cluster(), lab.found().platform.namespace
    name = cluster.json("-n", namespace, "get", "pvc", claim)["spec"]["volumeName"]
    spec = cluster.json("get", "pv", name)["spec"]
    terms = spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
    return terms[0]["matchExpressions"][0]["values"][0], spec["local"]["path"]


def test_looking_changes_nothing() -> None:
    assert "apadana.io/room" not in follow("storage", "see").splitlines()[-1]
    assert "Leader" in follow("postgres", "look", MEMBER=replica("postgres"))
    assert "role:" in follow("redis", "look", MEMBER=replica("redis"))


def test_looking_at_the_cluster_changes_nothing() -> None:
    seen = follow("cluster", "look")
    assert "kube-apiserver-" in seen and "readyz check passed" in seen
    seen = follow("cluster", "look-at-etcd", MEMBER=lab.control_planes()[0])
    assert all(seen.count(host) for host in lab.control_planes()), seen
    assert "ALARM" not in seen.upper().splitlines()[-1]
    seen = follow("nodepool", "look")
    assert "CARDS" in seen and all(host in seen for host in lab.hosts())


def test_etcd_gives_back_room_member_by_member(tmp_path: Path) -> None:
    with audited(tmp_path) as found:
        for host in lab.control_planes():
            assert "is healthy" in follow("cluster", "make-room", MEMBER=host)
    assert damage(found) == {}
    done = lab.validate("smoke", timeout=300)
    assert done.returncode == 0, lab.told(done)


def test_a_control_plane_s_certificates_are_renewed() -> None:
    """What ends soon is, on the one host where it does; what holds it is started anew, and nothing else is."""
    host, *others = lab.control_planes()
    names = ("pki/apiserver.crt", "pki/etcd/peer.crt", "controller-manager.conf")
    labplanes.plant_on(host, names, datetime.now(UTC) + timedelta(days=20))
    before = labplanes.parts()
    told = follow("cluster", "renew-certificates")
    assert f"{host}: renewed: apiserver, controller-manager.conf, etcd-peer (until" in told
    anew = {f"{part}-{host}" for part in ("kube-apiserver", "etcd", "kube-controller-manager")}
    assert labplanes.started(before, labplanes.parts()) == anew
    assert labplanes.ends(host) > datetime.now(UTC) + timedelta(days=360)
    assert all(f"{other}: nothing; the first to end is" in told for other in others)
    assert "nothing is to be done" in follow("cluster", "renew-certificates")
    done = lab.validate("smoke", timeout=300)
    assert done.returncode == 0, lab.told(done)


def test_what_a_host_with_cards_lost_is_given_back() -> None:
    cluster, host = lab.cluster(), lab.hosts()[-1]
    taints = cluster.json("get", "node", host)["spec"]["taints"]
    cluster.run("taint", "node", host, f"{taints[0]['key']}-")
    assert lab.validate("smoke", timeout=300).returncode != 0
    follow("nodepool", "give-back")
    assert cluster.json("get", "node", host)["spec"]["taints"] == taints
    done = lab.validate("smoke", timeout=300)
    assert done.returncode == 0, lab.told(done)


def test_a_host_is_emptied_and_taken_in(tmp_path: Path) -> None:
    host = lab.hosts()[-1]
    with audited(tmp_path) as found:
        try:
            follow("nodepool", "empty", MEMBER=host, seconds=1200)
            assert left_on(host) == []
        finally:
            follow("nodepool", "take-in", MEMBER=host)
        wait_whole()
    assert damage(found) == {}


@pytest.mark.parametrize("room", ["postgres", "redis"])
def test_a_primary_is_changed_in_order(room: str, tmp_path: Path) -> None:
    before = primary(room)
    with audited(tmp_path) as found:
        follow(room, "switch", MEMBER=before)
        wait_for("another primary", lambda: primary(room) != before or None, timeout=60)
        if room == "postgres":
            follow("postgres", "restart", MEMBER=replica("postgres"))
    assert damage(found) == {}
    wait_whole()


@pytest.mark.parametrize("room", sorted(MEMBERS))
def test_a_member_begins_anew(room: str, tmp_path: Path) -> None:
    """Old data lie on its disk: what it had is gone, what was acknowledged is not."""
    member = replica(room)
    claim = f"{MEMBERS[room]}-{member.rpartition('-')[2]}"
    host, folder = volume(claim)
    lab.on_host(host, f"touch {folder}/of-an-older-life")
    with audited(tmp_path) as found:
        follow("storage", "new-disk")
        follow("storage", "begin-anew", MEMBER=member, CLAIM=claim, seconds=1200)
    assert damage(found) == {}
    assert volume(claim) == (host, folder)
    assert "older-life" not in lab.on_host(host, f"ls {folder}")
    done = lab.validate("smoke", timeout=300)
    assert done.returncode == 0, lab.told(done)


def test_a_full_volume_grows(tmp_path: Path) -> None:
    """A lab's device is a file; what lies below a site's is its owner's to enlarge. It stays 64 MiB larger."""
    member, claim = "kafka-2", "data-kafka-2"
    host, folder = volume(claim)
    free = f"df --output=avail -B1 {folder} | tail -n 1"
    with audited(tmp_path) as found:
        lab.on_host(host, f"fallocate -l $({free}) {folder}/filler || true")
        lab.on_host(
            host,
            f"""device=$(findmnt --noheadings --output SOURCE --target {folder})
            file=$(losetup --noheadings --output BACK-FILE "$device")
            truncate --size=+64M "$file"; losetup --set-capacity "$device" """,
        )
        follow("storage", "grow", CLAIM=claim)
        assert int(lab.on_host(host, free)) > 32 << 20
        lab.on_host(host, f"rm {folder}/filler")
        lab.cluster().run("-n", lab.found().platform.namespace, "delete", "pod", member, "--wait=false")
    assert damage(found) == {}
    wait_whole()


def test_a_replica_is_cloned(tmp_path: Path) -> None:
    with audited(tmp_path) as found:
        follow("postgres", "clone", MEMBER=replica("postgres"))
        wait_for("every standby", lambda: standbys() == 2 or None, timeout=300, every=2)
    assert damage(found) == {}


def standbys() -> int:
    return int(inside(primary("postgres"), *PSQL, "SELECT count(*) FROM pg_stat_replication WHERE state='streaming'"))


@contextmanager
def alone() -> Iterator[str]:
    """PostgreSQL with its first member only, which was a standby, so that it has to be promoted."""
    cluster, namespace = lab.cluster(), lab.found().platform.namespace
    scale = ("-n", namespace, "scale", "statefulset/postgres")
    last = "postgres-0"
    while primary("postgres") == last:
        follow("postgres", "switch", MEMBER=last)
    cluster.run(*scale, "--replicas=1")
    try:
        wait_for("the others to be gone", lambda: gone("postgres-1") and gone("postgres-2"), timeout=180, every=2)
        yield last
    finally:
        cluster.run(*scale, "--replicas=3")
        wait_whole()


def gone(pod: str) -> bool | None:
    listed = lab.cluster().run(
        "-n", lab.found().platform.namespace, "get", "pod", pod, "--ignore-not-found", "-o", "name"
    )
    return not listed.strip() or None


def commits(pod: str) -> bool | None:
    """Not by a time-out of the server's own: it would call the commit done and only warn."""
    wish = "CREATE TABLE IF NOT EXISTS runbook (at timestamptz); INSERT INTO runbook VALUES (now())"
    try:
        inside(pod, *PSQL[:3], "timeout", "6", *PSQL[3:], wish)
    except ClusterError:
        return None
    return True


def test_the_last_member_acknowledges_alone_by_decision() -> None:
    reason = "a trial of the runbook"
    with alone() as last:
        if inside(last, *PSQL, "SELECT pg_is_in_recovery()") == "t":
            follow("postgres", "promote", MEMBER=last)
        wait_for("a primary", lambda: primary("postgres") == last or None, timeout=60)
        assert not commits(last), "acknowledged on one host without a decision"
        follow("postgres", "alone", MEMBER=last, BECAUSE=reason)
        wait_for("a commit", lambda: commits(last), timeout=60)
        lab.cluster().run("-n", lab.found().platform.namespace, "delete", "pod", last)
        wait_for("a primary", lambda: primary("postgres") == last or None, timeout=120, every=2)
        wait_for("a commit after a start: the decision stands", lambda: commits(last), timeout=60)
        assert reason in lab.told(lab.validate("smoke", timeout=300))
    follow("postgres", "together", MEMBER=primary("postgres"))
    wait_for("every standby", lambda: standbys() == 2 or None, timeout=300, every=2)
    inside(primary("postgres"), *PSQL, "DROP TABLE runbook")
    done = lab.validate("smoke", timeout=300)
    assert done.returncode == 0, lab.told(done)
