"""Mistakes of a person: told before anything is changed, with what was seen, what is allowed and
what to do.

What other files already try is not tried again here: rules of an inventory (test_preflight.py),
settings of the stacks (test_kit_settings.py), a bundle that was altered, cut short, unsigned or
signed by another key (test_bundle_verify.py), two `make up` at once (test_road_lock.py), too little
disk for a build (test_bundle_build.py).
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bundle.errors import Refused
from road import __main__ as road
from road import running, steps
from road.place import Place, place
from tests import scripts

REPOSITORY = Path(__file__).parents[2]
GIB = 1 << 30


preflight, reach, podman_lab = (
    scripts.load(scripts.PLAYBOOKS / "action_plugins" / "preflight.py"),
    scripts.load(scripts.PLAYBOOKS / "action_plugins" / "reach.py"),
    scripts.load(scripts.PLAYBOOKS / "library" / "podman_lab.py"),
)

# ---- settings of an inventory: unknown, mistyped, twice

OPTIONS = preflight.options_of(REPOSITORY / "roles")
ROLES = [path.name for path in (REPOSITORY / "roles").iterdir()]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("site_pod_cidrs", "did you mean site_pod_cidr?"),
        ("storage_volume", "did you mean storage_volumes?"),
        ("node_label", "did you mean node_labels?"),
        ("kubernetes_maxpods", "did you mean kubernetes_max_pods?"),
        ("registry_quota_in_bytes_of_each_tenant", "take it away"),
    ],
)
def test_a_setting_that_nothing_reads_is_told_with_its_hosts(name: str, words: str) -> None:
    (told,) = preflight.unknown_faults({"a": [name], "b": [name]}, OPTIONS, ROLES)
    assert told.startswith(f"{name} (set for a, b) is no setting of any role")
    assert words in told


def test_variables_of_ansible_and_of_others_are_let_pass() -> None:
    names = ["ansible_host", "inventory_file", "groups", "playbook_dir", "our_contact"]
    assert preflight.unknown_faults({"a": names}, OPTIONS, ROLES) == []


@pytest.mark.parametrize("site", ["lab", "stage", "production"])
def test_the_samples_use_known_settings_only(site: str) -> None:
    folder = REPOSITORY / "inventories" / site / "group_vars" / "all"
    names = {name for file in folder.glob("*.yml") for name in yaml.safe_load(file.read_text(encoding="utf-8"))}
    assert preflight.unknown_faults({"all": sorted(names)}, OPTIONS, ROLES) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("kubernetes_max_pods", "many", "kubernetes_max_pods is 'many'; allowed: int"),
        ("base_swap_off", "perhaps", "base_swap_off is 'perhaps'; allowed: bool"),
        ("node_taints", {"key": "x"}, "allowed: list of str"),
        ("lab_state", "gone", "lab_state is 'gone'; allowed: present, absent"),
    ],
)
def test_a_value_of_another_type_is_told_before_any_role_runs(name: str, value: Any, words: str) -> None:
    (told,) = preflight.type_faults({"a": {name: value}, "b": {name: value}}, OPTIONS)
    assert words in told
    assert told.endswith("(set for a, b)")


@pytest.mark.parametrize("value", [110, "110"])
def test_a_number_may_be_written_either_way(value: Any) -> None:
    assert preflight.type_faults({"a": {"kubernetes_max_pods": value}}, OPTIONS) == []


def test_a_wrong_network_of_administrators_is_told() -> None:
    site = {"site_admin_networks": ["10.0.0.0/24", "10.0.0.1/24"]}
    (told,) = preflight.networks.admin_faults(site)
    assert "'10.0.0.1/24'" in told and "/32" in told


def test_a_host_that_stands_twice_is_refused_with_its_name_and_file(tmp_path: Path) -> None:
    file = tmp_path / "hosts.yml"
    file.write_text("all:\n  hosts:\n    cp1: {ansible_host: 10.0.0.1}\n    cp1: {ansible_host: 10.0.0.2}\n")
    program = str(Path(sys.executable).parent / "ansible-inventory")
    done = subprocess.run([program, "-i", str(file), "--list"], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode != 0
    assert "duplicate mapping key 'cp1'" in done.stderr
    assert str(file) in done.stderr


# ---- the way into the hosts

DOOR = reach.Door("cp1", "10.1.0.11", 22, "root", "/keys/id")
SUDO = replace(DOOR, user="ops", become=True)
LET_IN = reach.Seen(0, f"free={100 * GIB}\nmember=yes\n", "")


@pytest.mark.parametrize(
    ("door", "code", "error", "words"),
    [
        (
            DOOR,
            255,
            "root@10.1.0.11: Permission denied (publickey).\n",
            ("refuses the key /keys/id", "authorized_keys of root", "group_vars/all/main.yml"),
        ),
        (
            DOOR,
            255,
            "No ED25519 host key is known for 10.1.0.11\nHost key verification failed.\n",
            ("does not show the host key", "compare the key at the machine", "known_hosts"),
        ),
        (
            DOOR,
            255,
            "ssh: connect to host 10.1.0.11 port 22: No route to host\n",
            ("does not answer", "No route to host", "is sshd running"),
        ),
        (SUDO, 1, "sudo: a password is required\n", ("may not become root", "sudoers.d", "ansible_user")),
        (DOOR, 127, "sh: df: not found\n", ("refused a look at the disk", "df: not found")),
    ],
    ids=["wrong key", "other machine", "unreachable", "no sudo", "odd shell"],
)
def test_a_closed_door_is_told_with_what_to_do(door: Any, code: int, error: str, words: tuple[str, ...]) -> None:
    (told,) = reach.judge(door, reach.Seen(code, "", error))
    assert told.startswith(f"cp1 ({door.user}@10.1.0.11:22)")
    for word in words:
        assert word in told


def test_every_host_is_asked_and_every_fault_told(tmp_path: Path) -> None:
    key = tmp_path / "id"
    key.write_text("a key")
    doors = [replace(DOOR, name=name, key=str(key)) for name in ("a", "b", "c")]
    bad = reach.Seen(255, "", "Permission denied (publickey).")
    seen = reach.looks(doors, lambda door: LET_IN if door.name == "b" else bad)
    told = [line for each in zip(doors, seen, strict=True) for line in reach.judge(*each)]
    assert [line.split()[0] for line in told] == ["a", "c"]


def test_a_key_that_is_not_there_is_told_once() -> None:
    (told,) = reach.lost_keys([DOOR, replace(DOOR, name="cp2")])
    assert "ansible_ssh_private_key_file is /keys/id, and there is no such file" in told


def test_a_standing_connection_does_not_hide_a_wrong_key() -> None:
    command = " ".join(SUDO.argv())
    assert "ControlPath=none" in command and "BatchMode=yes" in command
    assert command.endswith('-p 22 -l ops 10.1.0.11 sudo -n sh -s -- "$SSH_CONNECTION"')


@pytest.mark.skipif(shutil.which("ssh") is None, reason="needs an SSH client")
def test_a_port_where_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    key = tmp_path / "id"
    key.write_text("never read")
    door = replace(DOOR, address="127.0.0.1", port=port, key=str(key))
    (told,) = reach.judge(door, reach.ask(door))
    assert "does not answer" in told and "Connection refused" in told


# ---- too little disk on a host, on the machine

VOLUMES = ({"name": "minio", "class": "ssd", "size_gib": 20}, {"name": "kafka", "class": "hdd", "size_gib": 30})


def test_a_host_without_the_disk_for_its_volumes_is_refused() -> None:
    door = replace(DOOR, volumes=VOLUMES)
    (told,) = reach.judge(door, reach.Seen(0, f"free= {50 * GIB}\n", ""))
    assert "has 50.0 GiB free and 54 GiB are needed" in told
    assert "volume minio (ssd) 20 GiB, volume kafka (hdd) 30 GiB" in told
    assert "hosts.yml" in told


@pytest.mark.parametrize(
    ("free", "more"),
    [(54 * GIB, ""), (34 * GIB, "disk=ssd-minio.img\n"), (1, "disk=ssd-minio.img\ndisk=hdd-kafka.img\nmember=yes\n")],
    ids=["all new", "one volume there", "nothing to make"],
)
def test_only_what_is_still_to_be_made_needs_disk(free: int, more: str) -> None:
    door = replace(DOOR, volumes=VOLUMES)
    assert reach.judge(door, reach.Seen(0, f"free={free}\n{more}", "")) == []


def test_a_disk_that_cannot_be_read_is_no_pass() -> None:
    assert "not its free bytes" in reach.judge(DOOR, reach.Seen(0, "", ""))[0]


HOLDER = replace(DOOR, interface="eth0", vip="10.1.0.10")
LINKS = f"free={100 * GIB}\nmember=yes\nlink=eth0\nlink=eth1\nlink=lo\n"


@pytest.mark.parametrize(
    ("door", "on", "words"),
    [
        (HOLDER, "on=eth0 10.1.0.11/24\n", ""),
        (HOLDER, "on=eth0 192.0.2.1/24\non=eth0 10.1.0.11/24\n", ""),
        (HOLDER, "", ""),
        (replace(HOLDER, interface="", vip=""), "on=eth1 10.1.0.11/24\n", ""),
        (replace(HOLDER, interface="eno1"), "", "which has eth0, eth1, lo; name the one with"),
        (HOLDER, "on=eth1 10.1.0.11/24\n", "eth0 has no address"),
        (HOLDER, "on=eth0 192.0.2.1/24\n", "eth0 has 192.0.2.1/24"),
        (replace(HOLDER, vip="10.1.0.200"), "on=eth0 10.1.0.11/25\n", "correct site_vip"),
    ],
    ids=["its", "two", "no ip", "no vip", "no such", "another", "another network", "too small"],
)
def test_the_floating_address_needs_its_interface(door: Any, on: str, words: str) -> None:
    told = reach.judge(door, reach.Seen(0, LINKS + on, ""))
    assert [words in fault for fault in told] == ([True] if words else [])


def test_the_look_is_a_script_that_runs() -> None:
    done = subprocess.run(["sh", "-s"], input=reach.LOOK, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    assert "link=lo" in done.stdout.splitlines()
    if shutil.which("ip"):
        assert "on=lo 127.0.0.1/8" in done.stdout.splitlines()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "node.tar").write_text("a machine")
    calls: list[tuple[str, ...]] = []

    def podman(*arguments: str, **_: Any) -> str:
        calls.append(arguments)
        return str(tmp_path) if arguments[0] == "info" else "[]"

    monkeypatch.setattr(podman_lab, "podman", podman)
    made = podman_lab.Lab(
        {
            "name": "test",
            "hosts": {"a": "10.0.0.1", "b": "10.0.0.2"},
            "node_tar": str(tmp_path / "node.tar"),
            "bundle": str(tmp_path),
            "state_dir": str(tmp_path / "state"),
            "host_gib": 1 << 20,
        }
    )
    made.calls = calls
    return made


def test_a_machine_without_the_disk_for_a_lab_is_left_alone(lab: Any) -> None:
    with pytest.raises(podman_lab.LabError, match=r"GiB are needed, \d+ for each of a, b; free"):
        lab.present()
    assert {call[0] for call in lab.calls} == {"ps", "info"}
    assert not lab.state.exists()


def test_a_lab_that_stands_needs_no_more_disk(lab: Any) -> None:
    lab.check_disk([])
    assert lab.calls == []


def test_only_what_a_killed_run_left_of_this_labs_hosts_is_removed(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Podman lists what is just being made by others just so, and no filter holds for it."""
    left = ("Storage 11 apadana-test-a", "Storage 22 apadana-other-a", "Storage 33 ")
    listed = "\n".join([*left, "Up 3s 44 apadana-test-b"])
    removed: list[str] = []

    def podman(*arguments: str, **_: Any) -> str:
        removed.extend(arguments[2:] if arguments[0] == "rm" else ())
        return {"info": str(lab.state), "volume": "apadana-test-b"}.get(arguments[0], listed)

    for volume in ("apadana-test-a", "apadana-test-b", "apadana-other-a"):
        (lab.state / volume / "_data").mkdir(parents=True)
    monkeypatch.setattr(podman_lab, "podman", podman)
    lab.drop_half_made(["a", "b"])
    assert removed == ["11"]
    # Podman knows b's, and the third is another lab's.
    assert {each.name for each in lab.state.iterdir()} == {"apadana-test-b", "apadana-other-a"}


def test_a_removal_that_was_cut_off_is_ended_before_hosts_are_made(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = podman_lab.podman

    def cut(*arguments: str, **more: Any) -> str:
        if arguments[:2] == ("volume", "rm"):
            raise KeyboardInterrupt
        return "apadana-test-a" if arguments[:2] == ("volume", "ls") else str(asked(*arguments, **more))

    monkeypatch.setattr(podman_lab, "podman", cut)
    with pytest.raises(KeyboardInterrupt):
        lab.absent()
    with pytest.raises(KeyboardInterrupt):  # it comes as far as before, and makes nothing
        lab.present()
    monkeypatch.setattr(podman_lab, "podman", asked)
    with pytest.raises(podman_lab.LabError, match="GiB are needed"):
        lab.present()
    assert not lab.leaving.exists()


# ---- a bundle that is refused stops the road before any machine is touched


@pytest.fixture
def where(tmp_path: Path) -> Place:
    return place("lab", {"APADANA_STATE": str(tmp_path), "APADANA_CACHE": str(tmp_path / "cache")})


def test_no_machine_is_touched_with_a_refused_bundle(
    where: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = "debs/demo.deb (deb demo) was altered: digest sha256:1, listed sha256:2"
    called: list[str] = []

    def run(command: running.Command, log: Path, *_: Any, **__: Any) -> running.Outcome:
        called.append(" ".join(command.argv[1:]))
        refused = command.argv[-1] == "verify"
        return running.Outcome(int(refused), str(Refused("it", [problem])) if refused else "")

    monkeypatch.setattr(running, "run", run)
    assert road.walk(where, steps.up_steps(where), "token", "up") == 1
    assert called[-1] == "-m bundle verify"
    said = capsys.readouterr().err
    for words in ("Step 'bundle' failed", problem, "Nothing of it was used", "bundle.log"):
        assert words in said
