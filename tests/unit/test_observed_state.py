"""What a host is against what its roles want: each kind of difference is seen and mended."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ansible.module_utils
import pytest

from tests import scripts

REPOSITORY = Path(__file__).parents[2]


# As Ansible does on a host, where module_utils are under ansible.module_utils.
UTILS = "ansible.module_utils"
disks = scripts.load(scripts.PLAYBOOKS / "module_utils" / "disks.py", f"{UTILS}.disks")
ansible.module_utils.disks = disks
host = scripts.load(scripts.PLAYBOOKS / "module_utils" / "host.py", f"{UTILS}.host")
oci_layout = scripts.load(scripts.PLAYBOOKS / "module_utils" / "oci_layout.py", f"{UTILS}.oci_layout")
ansible.module_utils.oci_layout = oci_layout
containers = scripts.load(scripts.PLAYBOOKS / "module_utils" / "containers.py", f"{UTILS}.containers")
ansible.module_utils.containers = containers
effects = scripts.load(scripts.PLAYBOOKS / "module_utils" / "effects.py", f"{UTILS}.effects")
kernel = scripts.load(scripts.PLAYBOOKS / "module_utils" / "kernel.py", f"{UTILS}.kernel")
wayback = scripts.load(scripts.PLAYBOOKS / "module_utils" / "wayback.py", f"{UTILS}.wayback")
kubelet = scripts.load(scripts.PLAYBOOKS / "module_utils" / "kubelet.py", f"{UTILS}.kubelet")
certificates = scripts.load(scripts.PLAYBOOKS / "module_utils" / "certificates.py", f"{UTILS}.certificates")
plane = scripts.load(scripts.PLAYBOOKS / "module_utils" / "plane.py", f"{UTILS}.plane")
for part in (effects, kernel, kubelet, certificates, plane, wayback):
    setattr(ansible.module_utils, part.__name__.rpartition(".")[2], part)
observed_state = scripts.load(scripts.PLAYBOOKS / "library" / "observed_state.py")
SHARED: dict[str, Any] = {"packages": {}, "mounts": set(), "units": {}}
TEXT = "wanted\n"


@pytest.fixture
def file(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "etc" / "some.conf"
    host.write_file(path, TEXT.encode(), 0o640)
    return {"path": str(path), "content": TEXT, "mode": "0640"}


def differences(**wanted: Any) -> list[Any]:
    found: list[Any] = observed_state.Role("demo", wanted).observe(SHARED)
    return found


def test_a_file_as_wanted_is_no_difference(file: dict[str, Any]) -> None:
    assert differences(files=[file]) == []


@pytest.mark.parametrize(
    ("harm", "seen"),
    [
        (lambda path: path.write_text("other\n"), "sha256:"),
        (lambda path: path.chmod(0o666), "0666"),
        (lambda path: path.unlink(), "absent"),
        (lambda path: (path.unlink(), path.symlink_to("/dev/null")), "link to /dev/null"),
    ],
    ids=["content", "mode", "missing", "link"],
)
def test_a_changed_file_is_seen_and_mended(file: dict[str, Any], harm: Any, seen: str) -> None:
    path = Path(file["path"])
    harm(path)
    (found,) = differences(files=[file])
    assert (found.kind, found.name) == ("file", str(path))
    assert seen in found.seen
    observed_state.Role("demo", {"files": [file]}).mend_files({("file", str(path))}, set())
    assert differences(files=[file]) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (lambda path: path.write_text("nameserver 10.0.0.1\n"), "nameserver 10.0.0.1\n"),
        (lambda path: None, TEXT),
        (lambda path: path.symlink_to("/run/no-resolver/stub.conf"), TEXT),
    ],
    ids=["the owner's", "missing", "a link into nothing"],
)
def test_a_file_that_is_the_owners_is_made_only_where_there_is_none(tmp_path: Path, before: Any, after: str) -> None:
    path = tmp_path / "resolv.conf"
    wanted = {"path": str(path), "content": TEXT, "force": False}
    before(path)
    kinds = {(item.kind, item.name) for item in differences(files=[wanted])}
    observed_state.Role("demo", {"files": [wanted]}).mend_files(kinds, set())
    assert path.read_text() == after
    assert differences(files=[wanted]) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_another_owner_is_seen_and_mended(file: dict[str, Any]) -> None:
    path = Path(file["path"])
    os.chown(path, 4242, 4243)
    (found,) = differences(files=[file])
    assert found.seen.endswith("0640 4242:4243")
    assert found.wanted.endswith("0640 root:root")
    observed_state.Role("demo", {"files": [file]}).mend_files({("file", str(path))}, set())
    assert differences(files=[file]) == []


def test_a_group_that_is_not_there_yet_is_a_difference_and_no_crash(file: dict[str, Any]) -> None:
    (found,) = differences(files=[file | {"group": "no-such-group"}])
    assert found.wanted.endswith(":-1")


def test_no_call_is_written_to_the_hosts_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible.module_utils.basic import AnsibleModule

    assert observed_state.QuietModule._log_invocation is not AnsibleModule._log_invocation


STATUS = """\
Package: socat
Status: install ok installed

Package: ipset
Status: hold ok installed

Package: ethtool
Status: deinstall ok config-files
"""


def test_packages_that_are_gone_or_held_back_are_told_as_dpkg_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "status").write_text(STATUS)
    place = Path
    monkeypatch.setattr(host, "Path", lambda name: place(tmp_path / place(name).name))
    states = host.package_states()
    role = observed_state.Role("demo", {"packages": ["socat", "ipset", "ethtool", "openssl"]})
    found = {item.name: item.seen for item in role.observe_packages(states)}
    assert found == {"ipset": "hold ok installed", "ethtool": "deinstall ok config-files", "openssl": "absent"}


def test_a_masked_unit_is_unmasked_before_it_is_enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(observed_state, "run", lambda *command, **_: calls.append(command))
    role = observed_state.Role("demo", {"units": [{"name": "a.service"}]})
    seen = role.observe_units({"a.service": ("masked", "inactive")})
    assert [(item.wanted, item.seen) for item in seen] == [("enabled", "masked"), ("active", "inactive")]
    role.mend_units(seen, [])
    assert [command[1] for command in calls] == ["unmask", "enable", "start"]


@pytest.mark.parametrize(
    ("state", "wrong"),
    [
        (("enabled", "inactive"), True),  # as its package left it: up after the next boot
        (("enabled", "active"), True),
        (("disabled", "active"), True),
        (("disabled", "inactive"), False),
        (("masked", "inactive"), False),
        (("", ""), False),  # not installed
    ],
)
def test_a_unit_that_no_role_wants_is_off(state: tuple[str, str], wrong: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(observed_state, "run", lambda *command, **_: calls.append(command))
    monkeypatch.setattr(observed_state, "unit_states", lambda names: dict.fromkeys(names, state))
    role = observed_state.Role("demo", {"units": [{"name": "a.service", "idle": True}]})
    assert [item.wanted for item in role.observe_units({"a.service": state})] == ["off"] * wrong
    role.mend_units([], [])  # its package may have come in the same run, after the look
    disable = ("systemctl", "disable", "--now", "--quiet", "a.service")
    assert calls == [disable] * wrong


def test_one_change_of_a_host_waits_for_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "LOCK", tmp_path / "run" / "host.lock")
    with host.alone():
        monkeypatch.setattr(host, "LOCK_SECONDS", 0)
        with pytest.raises(host.StateError, match="an earlier run works on this host"), host.alone():
            pass
    with host.alone():
        pass


def test_a_package_held_back_is_let_go_before_the_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    place = Path
    monkeypatch.setattr(host, "Path", lambda name: place(tmp_path / place(name).name))
    monkeypatch.setattr(host, "run", lambda *command, **_: calls.append(" ".join(command)))
    host.install_packages(["ipset", "socat"], ["ipset"])
    assert calls[0].endswith("--configure --pending")
    assert calls[1] == "apt-mark unhold ipset"
    assert calls[-1].endswith("install ipset socat")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("unsafe", [False, True])
def test_only_a_host_that_is_made_anew_at_will_does_not_wait_for_its_disk(
    unsafe: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    called: list[tuple[str, ...]] = []
    monkeypatch.setattr(host, "run", lambda *command, **_: called.append(command))
    monkeypatch.setattr(host, "Path", lambda _: tmp_path / "policy-rc.d")
    host.install_packages(["haproxy"], [], unsafe_io=unsafe)
    assert any("--force-unsafe-io" in word for call in called for word in call) is unsafe
    assert called[-1][-2:] == ("install", "haproxy")


def test_a_change_is_made_under_our_own_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "LOCK", tmp_path / "run" / "host.lock")
    before = os.umask(0o077)
    try:
        with host.alone():
            host.write_file(tmp_path / "etc" / "deep" / "file", b"text", 0o644)
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    assert (tmp_path / "etc" / "deep").stat().st_mode & 0o777 == 0o755
