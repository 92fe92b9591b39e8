"""Seeded drifts of hosts, made from what the roles themselves say they want: pure.

A drift is a small shell script for one host and the line with which `check.yml` must report it.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.repo.charts import ROOT

HOW: dict[str, dict[str, str]] = {
    "file": {
        "content": "printf '\\n# drift\\n' >> {name}",
        "mode": "chmod o+w {name}",
        "owner": "chown nobody {name}",
        "missing": "rm {name}",
    },
    "unit": {
        "stopped": "systemctl stop {name}",
        "disabled": "systemctl disable --quiet {name}",
        "masked": "systemctl mask --quiet {name}",
    },
    "idle": {"started": "systemctl enable --quiet --now {name}"},  # a unit that is to be off
    "package": {"removed": "dpkg --remove {name} >/dev/null 2>&1", "held": "apt-mark hold {name} >/dev/null"},
    "sysctl": {"changed": "echo {other} > /proc/sys/{path}"},
    # What is in force, beside its file.
    "ruleset": {"flushed": "nft flush table {name}", "gone": "nft delete table {name}"},
    "mount": {"unmounted": "umount {name}", "stopped": "systemctl stop {name}"},
    "settings": {
        "edited": "sed -i 's/^maxPods: .*/maxPods: 99/' {name}",
        "of unknown origin": 'rm "$(dirname {name})/.apadana-settings"',
    },
}
KINDS = tuple(HOW)
# Left alone, each for a reason: a test must not take away what it cannot give back at once.
LEFT_ALONE = {
    "apadana-loops.service": "its stop would take the volumes of running stores along",
    "dbus.socket": "static, so never disabled; its stop would take along what speaks through it",
    "net.ipv4.ip_forward": "setting it resets others, and cuts every pod of the host off",
    "net.bridge.bridge-nf-call-iptables": "belongs to the machine below, not to one host",
    "fs.inotify.max_user_instances": "belongs to the machine below, not to one host",
    "fs.inotify.max_user_watches": "belongs to the machine below, not to one host",
}
# Only what nothing else stands on is removed; any may be held back.
REMOVABLE = ("socat", "ethtool", "conntrack", "keepalived", "docker-registry")
THEIRS = "the owner's"  # of a file that is only made where there is none
# A unit whose file is our own lies where a mask would go, so systemd refuses to mask it.
MASKABLE = ("haproxy.service", "keepalived.service", "containerd.service", "docker-registry.service")
# Mending these restarts the runtime or the way to the API: one host at a time.
HEAVY = re.compile(r"containerd|kubelet|haproxy|/etc/hosts$")
SPARE_VOLUME = "scratch"  # no store has its data there
PER_HOST, PER_ROUND = 2, 6


@dataclass(frozen=True)
class Item:
    """One thing that a role wants of some hosts."""

    role: str
    kind: str
    name: str
    hosts: tuple[str, ...]
    value: str = ""

    @property
    def ways(self) -> list[str]:
        known = ["missing"] if self.value == THEIRS else list(HOW[self.kind])
        if self.kind == "package" and self.name not in REMOVABLE:
            known.remove("removed")
        if self.kind == "unit" and self.name not in MASKABLE:
            known.remove("masked")
        return known


@dataclass(frozen=True)
class Drift:
    """One item changed on one host."""

    host: str
    item: Item
    way: str

    @property
    def reported(self) -> str:
        kind = "unit" if self.item.kind == "idle" else self.item.kind
        return f"{self.item.role}: {kind} {self.item.name}"

    @property
    def script(self) -> str:
        name, other = self.item.name, "1" if self.item.value == "0" else "0"
        if "rp_filter" in name:
            other = "2"  # loose: a strict filter would drop what takes another way back
        text = HOW[self.item.kind][self.way]
        return text.format(name=name, other=other, path=name.replace(".", "/"))

    @property
    def heavy(self) -> bool:
        return bool(HEAVY.search(self.item.name))

    def __str__(self) -> str:
        return f"{self.host}: {self.item.kind} {self.item.name} {self.way}"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def table(inventory: Path) -> list[Item]:
    """All that may drift on the hosts of an inventory, by role."""
    known = read(inventory)["all"]
    every = tuple(known["hosts"])
    planes = tuple(known["children"]["control_plane"]["hosts"])
    roles = {"registry": planes, "network": planes[:1]}
    found: list[Item] = []
    for file in sorted((ROOT / "roles").glob("*/state.yml")):
        role = file.parent.name
        found += of_role(role, read(file), roles.get(role, every), planes)
    pins = read(ROOT / "versions.yaml")["debian"]["hosts"]
    found += [Item("packages", "package", name, every) for name in pins]
    sysctls = read(ROOT / "roles" / "base" / "defaults" / "main.yml")["base_sysctls"]
    found += [Item("base", "sysctl", key, every, str(value)) for key, value in sysctls.items()]
    found += of_volumes(known["hosts"])
    return [item for item in found if item.name not in LEFT_ALONE]


def of_role(role: str, state: Mapping[str, Any], hosts: tuple[str, ...], planes: tuple[str, ...]) -> Iterator[Item]:
    """Files, units and settings; names that only Ansible can render are left out."""
    kinds = (("file", "files", "path"), ("unit", "units", "name"), ("settings", "settings", "path"))
    for kind, key, field in kinds:
        entries = state.get(key)
        for entry in entries if isinstance(entries, list) else []:
            where = planes if "control_plane" in str(entry.get("when", "")) else hosts
            if entry.get("idle"):
                where = tuple(host for host in hosts if host not in planes)
                yield Item(role, "idle", entry[field], where)
            elif "{{" not in entry[field]:
                yield Item(role, kind, entry[field], where, "" if entry.get("force", True) else THEIRS)
    for rules in state.get("rulesets") or []:
        yield Item(role, "ruleset", rules["table"], hosts)


def of_volumes(hosts: Mapping[str, Any]) -> Iterator[Item]:
    named: dict[str, list[str]] = {}
    for host, variables in hosts.items():
        for volume in variables.get("storage_volumes", []):
            if volume["name"] == SPARE_VOLUME:
                path = f"/var/lib/apadana/volumes/{volume['class']}/{volume['name']}"
                named.setdefault(path, []).append(host)
    for path, where in named.items():
        yield Item("storage", "mount", path, tuple(where))


def seeded(items: Sequence[Item], seed: int, counts: Mapping[str, int]) -> list[Drift]:
    """So many drifts of each kind; never the same item twice on a host."""
    source = random.Random(seed)
    drifts: list[Drift] = []
    for kind, count in counts.items():
        choices = [
            Drift(host, item, way) for item in items if item.kind == kind for host in item.hosts for way in item.ways
        ]
        source.shuffle(choices)
        drifts += _apart(choices, count, kind)
    return drifts


def _apart(choices: Iterable[Drift], count: int, kind: str) -> list[Drift]:
    """Ways in turn, so that a kind with many files does not only lose their mode."""
    waiting: dict[str, list[Drift]] = {}
    for drift in choices:
        waiting.setdefault(drift.way, []).append(drift)
    chosen: list[Drift] = []
    taken: set[tuple[str, str]] = set()
    while len(chosen) < count:
        before = len(chosen)
        for drifts in waiting.values():
            fresh = next((d for d in drifts if (d.host, d.item.name) not in taken), None)
            if fresh and len(chosen) < count:
                taken.add((fresh.host, fresh.item.name))
                chosen.append(fresh)
        if len(chosen) == before:
            raise ValueError(f"only {len(chosen)} drifts of kind {kind} are possible, not {count}")
    return chosen


def rounds(drifts: Iterable[Drift]) -> list[list[Drift]]:
    """Several drifts share one check and one mending, as long as each can be told apart."""
    found: list[list[Drift]] = []
    for drift in drifts:
        for each in found:
            same_host = sum(other.host == drift.host for other in each)
            heavy = drift.heavy and any(other.heavy for other in each)
            if len(each) < PER_ROUND and same_host < PER_HOST and not heavy:
                each.append(drift)
                break
        else:
            found.append([drift])
    return found


def reports(check: str) -> dict[str, set[str]]:
    """What `check.yml` printed, by host: `role: kind name`."""
    found: dict[str, set[str]] = {}
    host = ""
    for line in check.splitlines():
        if line.startswith(("fatal: [", "failed: [")):
            host = line.split("[")[1].split("]")[0]
        elif line.startswith(("PLAY", "TASK", "ok: [", "changed: [")):
            host = ""
        elif host and (match := re.match(r"\s*- (\w+: \w+ .+?): wanted ", line)):
            found.setdefault(host, set()).add(match[1])
    return found
