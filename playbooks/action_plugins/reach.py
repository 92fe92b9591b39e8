"""Logs in to every host as the playbooks will, before anything is changed on any of them.

One SSH session for each host answers what cannot be known from here: is it on, is it the machine
that was verified, does it take the key, may the user become root, is there enough disk, what time
is it there, and what of a cluster is there. `judge` and `together` are pure: doors and what was
seen in, sentences out.
"""

from __future__ import annotations

import hashlib
import ipaddress
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.append(str(Path(__file__).resolve().parents[2]))

from playbooks.module_utils import disks
from playbooks.rules import admins, authority, clocks, membership, sighting
from playbooks.rules.doors import Door, Seen, door, entry_fault, last_line, session

SESSION_SECONDS = 30
GIB = 1 << 30
# Packages, boot images, the stores' images, the journal and the audit log of one host.
MEMBER_GIB = 4
FOLDER, DISKS, VOLUMES = "/var/lib", "/var/lib/apadana/disks", "/var/lib/apadana/volumes"
LOOK = f"""
echo "from=${{1%% *}}"
echo "clock=$(date +%s.%N)"
echo "free=$(df --output=avail -B1 {FOLDER} | tail -n 1)"
for disk in {DISKS}/*.img; do if [ -e "$disk" ]; then echo "disk=${{disk##*/}}"; fi; done
for link in /sys/class/net/*; do echo "link=${{link##*/}}"; done
if command -v ip >/dev/null; then
  ip -o -4 address show | while read -r _ name _ at _; do echo "on=${{name%%@*}} $at"; done
fi
{sighting.LOOK}"""


def ask(door: Door) -> Seen:
    """One look; a second one at the end of what an earlier run still does on the host."""
    look = LOOK + "".join(device_look(door, volume) for volume in door.devices)
    seen = session(door, look, SESSION_SECONDS)
    if not sighting.value(seen.out, "busy"):
        return seen
    return session(door, sighting.WAIT + look, sighting.WAIT_SECONDS + SESSION_SECONDS)


def device_look(door: Door, volume: Mapping[str, Any]) -> str:
    """Asks for the size of a volume's device and for what is on it. What a system volume that is
    made and not mounted holds nobody sees: it may be a member of etcd."""
    device, mine = shlex.quote(str(volume["device"])), disks.identity(door.site, door.name, volume)
    hidden = f"""case "$on" in *UUID={mine}*)
    mountpoint -q {shlex.quote(f"{VOLUMES}/{volume['class']}/{volume['name']}")} || echo unmounted=yes;;
  esac"""
    return f"""
if [ -b {device} ]; then
  on=$(blkid --probe --output export {device}) || [ $? = 2 ] || on="TYPE=unclear"
  echo device={device} $(blockdev --getsize64 {device}) $on
  {hidden if volume["class"] == "system" else ""}
fi
"""


def judge(door: Door, seen: Seen) -> list[str]:
    """What stands in the way on this host, each with what to do."""
    if seen.code == 255:
        return [entry_fault(door, seen.error)]
    if seen.code:
        words = last_line(seen.error) or f"exit code {seen.code}"
        if not door.become:
            return [f"{door.where}: its shell refused a look at the disk: {words}"]
        return [
            f"{door.where} lets {door.user} in, who may not become root without a password: "
            f"{words}; allow it in /etc/sudoers.d, or name another user in ansible_user"
        ]
    if sighting.value(seen.out, "busy"):
        return [
            f"{door.where}: an earlier run works there for more than {sighting.WAIT_SECONDS} s; see"
            f" `fuser -v {sighting.LOCK}` on that host"
        ]
    return [*disk_faults(door, seen.out), *device_faults(door, seen.out), *interface_faults(door, seen.out)]


def disk_faults(door: Door, out: str) -> list[str]:
    free = sighting.value(out, "free")
    if not free.isdigit():
        return [f"{door.where}: df says {free or 'nothing'!r} of {FOLDER}, not its free bytes"]
    there = set(sighting.values(out, "disk"))
    files = [volume for volume in door.volumes if "device" not in volume]
    missing = [v for v in files if f"{v['class']}-{v['name']}.img" not in there]
    needs = {f"volume {v['name']} ({v['class']})": int(v["size_gib"]) for v in missing}
    if not sighting.value(out, "member"):
        needs["packages, images and logs"] = MEMBER_GIB
    total = sum(needs.values())
    if total * GIB <= int(free):
        return []
    listed = ", ".join(f"{what} {gib} GiB" for what, gib in needs.items())
    return [
        f"{door.name}: {FOLDER} has {int(free) / GIB:.1f} GiB free and {total} GiB are needed"
        f" ({listed}); free some, or give smaller storage_volumes in hosts.yml"
    ]


def device_faults(door: Door, out: str) -> list[str]:
    """Devices that are not there, are too small, or hold something else."""
    told = {device: rest for device, _, rest in (line.partition(" ") for line in sighting.values(out, "device"))}
    found = []
    for volume in door.devices:
        size, _, seen = told.get(str(volume["device"]), "").partition(" ")
        mine = disks.identity(door.site, door.name, volume)
        fault = disks.fault(volume, int(size) if size.isdigit() else None, disks.facts(seen), mine)
        found += [f"{door.name}: {fault}"] if fault else []
    return found


def interface_faults(door: Door, out: str) -> list[str]:
    """keepalived puts the floating address on this interface; elsewhere nobody would find it."""
    if not door.interface:
        return []
    links = sorted(sighting.values(out, "link"))
    if links and door.interface not in links:
        return [
            f"{door.name}: loadbalancer_interface is {door.interface!r}; allowed: an interface of"
            f" this host, which has {', '.join(links)}; name the one with {door.address}"
        ]
    held = [value.split() for value in sighting.values(out, "on")]
    mine = [address for name, address in held if name == door.interface]
    if not held or any(_holds(door, address) for address in mine):
        return []  # a bare host may lack the program that tells addresses
    return [
        f"{door.name}: {door.interface} has {', '.join(mine) or 'no address'}; allowed as"
        f" loadbalancer_interface: the one with {door.address} and a network with site_vip"
        f" {door.vip}; name another, or correct site_vip"
    ]


def _holds(door: Door, address: str) -> bool:
    here = ipaddress.ip_interface(address)
    return str(here.ip) == door.address and ipaddress.ip_address(door.vip) in here.network


def lost_keys(doors: Sequence[Door]) -> list[str]:
    lost = sorted({door.key for door in doors if door.key and not Path(door.key).is_file()})
    return [
        f"ansible_ssh_private_key_file is {key}, and there is no such file; name the key that"
        " opens the hosts (group_vars/all/main.yml; the lab's is made by playbooks/lab.yml)"
        for key in lost
    ]


def looks(doors: Sequence[Door], look: Callable[[Door], Seen] = ask) -> list[Seen]:
    """All hosts at once, in the order of their doors."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        return list(pool.map(look, doors))


def together(
    doors: Sequence[Door], seen: Sequence[Seen], own_ca: str, pki: str, rejoin: str
) -> tuple[list[str], membership.Plan]:
    """What only all hosts together tell: clocks, the CA of the site, who is a member."""
    pairs = list(zip(doors, seen, strict=True))
    hosts = [sighting.host(door.name, door.address, plane=door.plane, out=each.out) for door, each in pairs]
    members = {host.name for host in hosts if host.belongs and host.name != rejoin}
    cas = {d.name: sighting.value(e.out, "site_ca").split(" ")[0] for d, e in pairs}
    readings = [
        clocks.Reading(door.name, float(told), each.asked, each.answered)
        for door, each in pairs
        if (told := sighting.value(each.out, "clock")) and each.answered
    ]
    plan = membership.decide(hosts, rejoin)
    found = [
        *admins.lockout_faults(
            {d.where: sighting.value(e.out, "from") for d, e in pairs},
            next((d.admins for d in doors), ()),
            [*(d.address for d in doors), *(d.vip for d in doors if d.vip)],
        ),
        *clocks.clock_faults(readings),
        *authority.authority_faults({n: c for n, c in cas.items() if n in members}, own_ca, pki),
        *plan.refusals,
    ]
    return found, plan


class ActionModule(ActionBase):
    """`reach:` on localhost, with the whole inventory in sight; `reach: {hosts: [...]}` asks these alone."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        per_host = variables["hostvars"]
        groups = variables["groups"]
        planes = list(groups.get("control_plane", ()))
        ordered = [*planes, *(name for name in groups["all"] if name not in planes)]
        ordered = [name for name in ordered if name in self._task.args.get("hosts", ordered)]
        doors = [door(name, per_host[name], planes) for name in ordered]
        found, plan = self.look(doors, per_host[ordered[0]])
        if found:
            result.update(failed=True, faults=found)
            result["msg"] = "Nothing was changed. To be mended first:\n- " + "\n- ".join(found)
        result.update(become=dict(plan.become), seed=plan.seed, silent=list(plan.silent))
        return result

    @staticmethod
    def look(doors: Sequence[Door], site: Mapping[str, Any]) -> tuple[list[str], membership.Plan]:
        """Way in and disk first: of a host that can't be entered nothing else is known."""
        if found := lost_keys(doors):
            return found, membership.Plan()
        seen = looks(doors)
        if found := [w for d, each in zip(doors, seen, strict=True) for w in judge(d, each)]:
            return found, membership.Plan()
        pki = Path(str(site["site_state"])) / "pki"
        file = pki / "ca.crt"
        own = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
        return together(doors, seen, own, str(pki), str(site.get("rejoin") or ""))
