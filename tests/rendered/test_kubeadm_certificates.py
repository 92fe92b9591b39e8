"""Certificates that a real kubeadm made and renews: what is due, what is half done, what is put back."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from components.kit.servers import NotHereError, built
from tests.certificates import plant
from tests.planes import cluster, run
from tests.unit import test_observed_state

pytestmark = [
    pytest.mark.rendered,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root has an /etc/kubernetes of its own"),
]
host = test_observed_state.host
certificates = test_observed_state.certificates
# kubeadm knows one place for its files.
WITHIN = """#!/bin/sh
exec unshare --mount sh -ec 'mount --bind {folder}/kubernetes /etc/kubernetes; {before} exec "$0" "$@"' {program} "$@"
"""
ALL = {
    *("admin.conf", "apiserver", "apiserver-etcd-client", "apiserver-kubelet-client", "controller-manager.conf"),
    *(
        "etcd-healthcheck-client",
        "etcd-peer",
        "etcd-server",
        "front-proxy-client",
        "scheduler.conf",
        "super-admin.conf",
    ),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of one control plane."""
    folder = tmp_path_factory.mktemp("kubeadm")
    try:
        (folder / "kubeadm").symlink_to(built("kubernetes"))
    except NotHereError as error:
        pytest.skip(str(error))
    Path("/etc/kubernetes").mkdir(exist_ok=True)
    (folder / "kubernetes").mkdir()
    (folder / "kubeadm.yaml").write_text(cluster("cp1", "10.1.1.1"))
    phases = [f"kubeadm init phase {phase} all --config {folder}/kubeadm.yaml" for phase in ("certs", "kubeconfig")]
    mount = f"mount --bind {folder}/kubernetes /etc/kubernetes"
    run("unshare", "--mount", "env", f"PATH={folder}:{os.environ['PATH']}", "sh", "-ec", "; ".join([mount, *phases]))
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copies of them, for the module and for its kubeadm."""
    run("cp", "-a", str(made / "kubernetes"), str(tmp_path))
    where = tmp_path / "kubernetes"
    for name, path in (("KUBERNETES", where), ("PKI", where / "pki"), ("BEFORE", where / ".apadana-before-renewal")):
        monkeypatch.setattr(certificates, name, path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    kubeadm(tmp_path, made)
    return where


def kubeadm(folder: Path, made: Path, before: str = "") -> None:
    """`before`: what happens instead of its work, or before it."""
    program = folder / "bin" / "kubeadm"
    program.parent.mkdir(exist_ok=True)
    program.write_text(WITHIN.format(folder=folder, before=before, program=made / "kubeadm"))
    program.chmod(0o755)


def due(days: float = 90, *, everything: bool = False) -> dict[str, str]:
    return {each.name: each.why for each in certificates.observed(days, everything=everything) if each.why}


def contents(place: Path) -> dict[str, bytes]:
    return {str(file.relative_to(place)): file.read_bytes() for file in place.rglob("*") if file.is_file()}


def test_fresh_ones_are_not_due_and_all_are_when_asked_for(place: Path) -> None:
    assert due() == {}
    assert set(due(366)) == set(due(1, everything=True)) == ALL
    held = {name for names in certificates.HOLDERS.values() for name in names}
    assert held < ALL and certificates.holders(["etcd-peer", "admin.conf"]) == ["etcd"]


def test_what_ends_is_renewed_and_nothing_else_is_written(place: Path) -> None:
    plant(place, "pki/apiserver.crt", timedelta(days=20))
    plant(place, "pki/etcd/server.crt", timedelta(days=-1))
    assert due() == {"apiserver": "in 20 days", "etcd-server": "it has ended"}
    assert due(0) == {"etcd-server": "it has ended"}
    before = contents(place)
    certificates.renew(due())
    after = contents(place)
    assert due() == {} and not certificates.cut_off()
    assert {name for name in after if after[name] != before.get(name)} == {
        *("pki/apiserver.crt", "pki/apiserver.key", "pki/etcd/server.crt", "pki/etcd/server.key")
    }


KEY_ALONE = "cp /etc/kubernetes/pki/sa.key /etc/kubernetes/pki/apiserver.key; exit 1;"
HALF = "truncate --size=3000 /etc/kubernetes/admin.conf; exit 1;"


@pytest.mark.parametrize(("name", "instead"), [("apiserver", KEY_ALONE), ("admin.conf", HALF)])
def test_a_renewal_that_is_cut_off_leaves_no_half_of_a_pair(place: Path, made: Path, name: str, instead: str) -> None:
    """kubeadm writes a key before its certificate, and a kubeconfig in place."""
    before = [file.read_bytes() for file in certificates.files(name)]
    certificates.renew(["etcd-peer"])
    kubeadm(place.parent, made, instead)
    with pytest.raises(host.StateError, match=f"certs renew {name}"):
        certificates.renew([name])
    assert certificates.cut_off() and not certificates.fits(name)
    kubeadm(place.parent, made)
    assert certificates.put_back() == [name]
    assert [file.read_bytes() for file in certificates.files(name)] == before
    assert not certificates.cut_off() and due() == {}


def test_what_a_cut_off_renewal_was_done_with_stays(place: Path, made: Path) -> None:
    certificates.keep(["apiserver", "etcd-peer"])
    run(str(place.parent / "bin" / "kubeadm"), "certs", "renew", "apiserver")
    new = contents(place)["pki/apiserver.crt"]
    assert certificates.put_back() == []
    assert contents(place)["pki/apiserver.crt"] == new


def test_copies_that_are_not_all_there_count_for_nothing(place: Path) -> None:
    fresh = certificates.BEFORE.with_name(f"{certificates.BEFORE.name}.new") / "apiserver"
    fresh.mkdir(parents=True)
    (fresh / "apiserver.crt").write_text("half")
    assert not certificates.cut_off()
    certificates.renew(["apiserver"])
    assert due() == {}


def test_a_key_of_another_certificate_is_due(place: Path) -> None:
    (place / "pki/apiserver.key").write_bytes((place / "pki/sa.key").read_bytes())
    assert due() == {"apiserver": "its key is another one's"}
    certificates.renew(due())
    assert due() == {}


@pytest.mark.parametrize(
    ("gone", "name", "fault"),
    [
        ("pki/front-proxy-client.crt", "front-proxy-client", "is missing"),
        ("pki/etcd/ca.key", "etcd-server", "was signed by etcd-ca, whose key is not on this host"),
    ],
)
def test_what_it_can_not_renew_is_a_fault_and_is_not_due(place: Path, gone: str, name: str, fault: str) -> None:
    (place / gone).unlink()
    faults = {each.name: each.fault for each in certificates.observed(366, everything=False) if each.fault}
    assert faults[name] == fault and name not in due(366)


def test_only_the_founder_has_the_super_admin_s(place: Path) -> None:
    (place / "super-admin.conf").unlink()
    assert {each.name for each in certificates.observed(1, everything=False)} == ALL - {"super-admin.conf"}


def test_a_part_that_runs_since_before_its_files_is_seen(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """containerd's word on when a container was made, as `ctr` gives it: nothing runs here."""
    made = {"etcd": certificates.files("etcd-peer")[0].stat().st_mtime + 60}
    monkeypatch.setattr(certificates.containers, "running", lambda pod: [pod] if pod in made else [])
    monkeypatch.setattr(certificates.containers, "made", made.__getitem__)
    assert [certificates.stale(pod) for pod in certificates.HOLDERS] == [""] * 4
    moment = made["etcd"] + 1
    os.utime(certificates.files("etcd-peer")[0], (moment, moment))
    assert certificates.stale("etcd") == "runs since before etcd-peer was written"
