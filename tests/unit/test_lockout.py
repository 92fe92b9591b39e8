"""Nobody is locked out by the rules that he sets: refused before anything, and undone where it happens after all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from playbooks.rules import admins, doors
from tests import scripts
from tests.unit import test_effects, test_observed_state

wayback = test_observed_state.wayback
reach = scripts.load(scripts.PLAYBOOKS / "action_plugins" / "reach.py")
way_in = scripts.load(scripts.PLAYBOOKS / "action_plugins" / "way_in.py")
NODES = ["10.1.0.11", "10.1.0.12", "10.1.0.10"]


@pytest.mark.parametrize(
    ("address", "networks", "refused"),
    [
        ("10.9.0.3", ["10.9.0.0/28"], False),
        ("10.9.0.16", ["10.9.0.0/28"], True),
        ("10.9.0.3", ["10.9.0.3"], False),
        ("10.9.0.3", ["192.0.2.0/24", "10.9.0.0/28"], False),
        ("10.1.0.12", ["10.9.0.0/28"], False),  # from one of the hosts
        ("203.0.113.7", ["10.9.0.0/28"], True),
        ("::ffff:10.9.0.3", ["10.9.0.0/28"], False),
        ("2001:db8::1", ["10.9.0.0/28"], True),  # the firewall knows no such admins
        ("fe80::1%eth0", ["10.9.0.0/28"], True),
        ("", ["10.9.0.0/28"], False),  # an sshd that does not say it
    ],
)
def test_where_one_comes_from_has_to_be_let_in(address: str, networks: list[str], refused: bool) -> None:
    told = admins.lockout_faults({"cp1": address}, networks, NODES)
    assert bool(told) is refused
    for line in told:
        assert address in line and ", ".join(networks) in line and f"add {address}/32" in line


def test_each_address_is_told_once_with_its_hosts() -> None:
    told = admins.lockout_faults({"cp1": "10.8.0.1", "cp2": "10.8.0.1", "cp3": "10.8.0.2"}, ["10.9.0.0/28"], NODES)
    assert [line.split(":")[0] for line in told] == ["cp1, cp2", "cp3"]


def test_the_look_says_from_where_we_came_also_behind_sudo() -> None:
    """The login's shell has the variable, and sudo drops it: it goes in as an argument of the script."""
    door = doors.door("cp1", {"ansible_host": "10.1.0.11", "ansible_become": True, "site_admin_networks": "10.9.0.1"})
    remote = " ".join(door.argv()[door.argv().index("10.1.0.11") + 1 :]).replace("sudo -n", "env -i PATH=$PATH")
    told = subprocess.run(
        ["sh", "-c", remote],
        input=reach.LOOK,
        env={**os.environ, "SSH_CONNECTION": "10.9.0.3 50000 10.1.0.11 22"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "from=10.9.0.3" in told.stdout.splitlines()
    assert door.admins == ("10.9.0.1",)


def test_all_hosts_together_refuse_it() -> None:
    site = {"site_admin_networks": ["10.9.0.0/28"]}
    found = [doors.door(name, {"ansible_host": at, **site}) for name, at in (("a", "10.1.0.11"), ("b", "10.1.0.12"))]
    seen = [doors.Seen(0, f"from={address}\n", "") for address in ("10.9.0.3", "10.8.0.1")]
    told, _ = reach.together(found, seen, "", "", "")
    assert any(line.startswith("b (root@10.1.0.12:22): you came in from 10.8.0.1") for line in told)
    assert not any(line.startswith("a ") for line in told)


# ---- the way back


@pytest.mark.parametrize(
    ("kinds", "armed"),
    [
        ({("file", "/etc/ssh/sshd_config.d/apadana.conf")}, True),
        ({("ruleset", "inet apadana")}, True),
        ({("file", "/etc/hosts"), ("sysctl", "net.ipv4.ip_forward")}, False),
    ],
)
def test_what_guards_the_way_in_is_changed_with_a_way_back(kinds: set[tuple[str, str]], armed: bool) -> None:
    wanted: dict[str, Any] = {
        "files": [{"path": "/etc/hosts"}, {"path": "/etc/ssh/sshd_config.d/apadana.conf", "guards": True}],
        "rulesets": [{"table": "inet apadana"}],
    }
    assert wayback.needed(wanted, kinds) is armed


CLOSED = """\
table inet apadana
delete table inet apadana
table inet apadana {
  chain input {
    type filter hook input priority filter; policy drop;
  }
}
"""
UNDO = """
import subprocess, sys
from pathlib import Path
from tests.unit.test_lockout import CLOSED, wayback
from tests.unit.test_effects import RULES, effects
folder = Path(sys.argv[1])
wayback.FOLDER = folder / "way-back"
old, new = folder / "firewall.nft", folder / "sshd.conf"
rules = lambda text: subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)
if sys.argv[2] == "before":
    rules(RULES)
    old.write_text(RULES)
files = [{"path": str(path), "guards": True} for path in (old, new)]
wayback.keep({"files": files, "rulesets": [{"table": "inet apadana"}]})
rules(CLOSED)
old.write_text("locked out")
new.write_text("locked out")
subprocess.run(["sh", str(wayback.FOLDER / "back.sh")], check=True)
print(effects.ruleset("inet apadana") == effects.ruleset_of(RULES, "inet apadana"))
print("not in force" if not effects.ruleset("inet apadana").startswith("table") else "in force")
print(old.read_text() == RULES if old.exists() else "absent", new.exists(), (wayback.FOLDER / "went-back").exists())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a network of its own")
@pytest.mark.parametrize(
    ("state", "told"),
    [("before", ["True", "in force", "True False True"]), ("bare", ["False", "not in force", "absent False True"])],
)
def test_the_way_back_puts_back_what_was_there(state: str, told: list[str], tmp_path: Path) -> None:
    """On real nftables, in a network of its own: with rules before, and on a bare host."""
    command = ["unshare", "--net", "--", sys.executable, "-c", UNDO, str(tmp_path), state]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=test_effects.REPOSITORY)
    assert done.stdout.splitlines() == told, done.stderr


DOOR = doors.Door("cp1", "10.1.0.11", 22, "root", "/keys/id")


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (doors.Seen(0, "confirmed=yes\n", ""), ""),
        (doors.Seen(255, "", "ssh: connect to host 10.1.0.11: Connection timed out\n"), "by itself within 300 s"),
        (doors.Seen(0, "late=yes\nconfirmed=yes\n", ""), "had gone back"),
        (doors.Seen(0, "", "Failed to stop apadana-way-back.timer\n"), "could not be ended"),
    ],
)
def test_only_a_fresh_login_ends_it(seen: Any, words: str) -> None:
    told = way_in.fault(DOOR, seen, 300)
    assert (words in told) if words else told == ""
