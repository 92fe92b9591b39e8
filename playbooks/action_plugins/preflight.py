"""Reads the whole inventory before anything is changed and tells every mistake at once.

`faults` is pure: plain dictionaries in, sentences out. The action adds the one thing that has to be
tried: whether each host answers on its SSH port.
"""

from __future__ import annotations

import ipaddress
import socket
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import Any

from ansible.plugins.action import ActionBase

NEEDED = (
    "site_name",
    "site_state",
    "site_bundle",
    "site_network",
    "site_pod_cidr",
    "site_service_cidr",
    "site_cluster_domain",
    "site_api_name",
    "site_api_port",
    "site_registry_name",
)
CLASSES = ("ssd", "hdd")
LAB = "lab"
CONSTRAINED = (
    "site_constrained",
    "kubernetes_kubelet_extra",
    "kubernetes_proxy_extra",
    "kubernetes_ignore_preflight",
    "containerd_restrict_oom_score_adj",
    "storage_loop_nodes",
)

Hosts = Mapping[str, Mapping[str, Any]]


def faults(hosts: Hosts, groups: Mapping[str, Iterable[str]], site: Mapping[str, Any]) -> list[str]:
    """All mistakes of the inventory, each with what was seen, what is allowed and what to do."""
    missing = [
        f"{name} is not set; set it in group_vars/all/main.yml of the inventory"
        for name in NEEDED
        if site.get(name) in (None, "")
    ]
    if missing:
        return missing
    planes = list(groups.get("control_plane", []))
    return [
        *control_plane_faults(planes),
        *group_faults(planes, list(groups.get("workers", [])), hosts),
        *address_faults(hosts, site),
        *network_faults(site),
        *volume_faults(hosts),
        *constrained_faults(site),
    ]


def control_plane_faults(planes: list[str]) -> list[str]:
    count = len(planes)
    if count == 2:
        return [
            "two control planes (masters) are refused: etcd needs more than half of its members, "
            "so with two the loss of either one stops the cluster, which is worse than having one; "
            "give three (any one may fall) in the group control_plane"
        ]
    if count % 2 == 0:
        return [
            f"{count} control planes are in the group control_plane; allowed are odd numbers "
            "(3 or 5 for a site): an even one bears no more losses than the odd one below it"
        ]
    return []


def group_faults(planes: list[str], workers: list[str], hosts: Hosts) -> list[str]:
    both = sorted(set(planes) & set(workers))
    neither = sorted(set(hosts) - set(planes) - set(workers))
    return [
        *(f"{name} is in control_plane and in workers; keep it in one of them" for name in both),
        *(f"{name} is in no group; put it into control_plane or workers" for name in neither),
    ]


def address_faults(hosts: Hosts, site: Mapping[str, Any]) -> list[str]:
    found, network = [], as_network(site["site_network"])
    seen: Counter[str] = Counter()
    named: dict[str, list[str]] = {}
    for name, host in hosts.items():
        raw = str(host.get("ansible_host", ""))
        try:
            address = ipaddress.ip_address(raw)
        except ValueError:
            found.append(f"{name}: ansible_host is {raw!r}; give its IP address in hosts.yml")
            continue
        seen[raw] += 1
        named.setdefault(raw, []).append(name)
        if network and address not in network:
            found.append(f"{name}: ansible_host {raw} is outside of site_network {network}")
    found += [
        f"{', '.join(named[raw])} have the same address {raw}; give each its own in hosts.yml"
        for raw, count in seen.items()
        if count > 1
    ]
    return found + vip_faults(str(site.get("site_vip") or ""), named, network)


def vip_faults(vip: str, named: Mapping[str, list[str]], network: Any) -> list[str]:
    if not vip:
        return []
    try:
        address = ipaddress.ip_address(vip)
    except ValueError:
        return [f"site_vip is {vip!r}; give a free IP address of site_network, or leave it empty"]
    if vip in named:
        return [f"site_vip {vip} is the address of {named[vip][0]}; give a free one"]
    if network and address not in network:
        return [
            f"site_vip {vip} is outside of site_network {network}; keepalived could not hold it"
        ]
    return []


def as_network(text: Any) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(str(text))
    except ValueError:
        return None


def network_faults(site: Mapping[str, Any]) -> list[str]:
    names = ("site_network", "site_pod_cidr", "site_service_cidr")
    networks = {name: as_network(site[name]) for name in names}
    found = [
        f"{name} is {site[name]!r}; give a network like 10.244.0.0/16 (no host bits)"
        for name, network in networks.items()
        if network is None
    ]
    known = [(name, network) for name, network in networks.items() if network is not None]
    found += [
        f"{one} {first} and {other} {second} overlap; packets would go astray: choose others"
        for (one, first), (other, second) in combinations(known, 2)
        if first.overlaps(second)
    ]
    return found


def volume_faults(hosts: Hosts) -> list[str]:
    found = []
    for name, host in hosts.items():
        volumes = host.get("storage_volumes") or []
        for volume in volumes:
            extra = set(volume) ^ {"name", "class", "size_gib"}
            if extra:
                found.append(
                    f"{name}: volume {volume} wants name, class, size_gib; see {sorted(extra)}"
                )
                continue
            if volume["class"] not in CLASSES:
                found.append(
                    f"{name}: volume {volume['name']} has class {volume['class']!r}; "
                    f"allowed are {', '.join(CLASSES)}"
                )
            if not isinstance(volume["size_gib"], int) or volume["size_gib"] < 1:
                found.append(
                    f"{name}: volume {volume['name']} has size_gib {volume['size_gib']!r}; "
                    "give whole GiB of 1 or more"
                )
        keys = Counter((v.get("class"), v.get("name")) for v in volumes)
        found += [
            f"{name}: volume {key[1]} of class {key[0]} stands {count} times; name it once"
            for key, count in keys.items()
            if count > 1
        ]
    return found


def constrained_faults(site: Mapping[str, Any]) -> list[str]:
    if site["site_name"] == LAB:
        return []
    return [
        f"{name} is set on site {site['site_name']}: it is for the constrained lab only "
        "(inventories/lab/group_vars/all/constrained.yml); remove it from this inventory"
        for name in CONSTRAINED
        if site.get(name)
    ]


def unreachable(addresses: Mapping[str, tuple[str, int]], deadline: float = 5) -> list[str]:
    """Hosts that do not answer as an SSH server, with what was seen instead."""

    def ask(name: str) -> str:
        address, port = addresses[name]
        try:
            with socket.create_connection((address, port), timeout=deadline) as link:
                link.settimeout(deadline)
                banner = link.recv(64)
        except OSError as error:
            return (
                f"{name} ({address}:{port}) does not answer: {error}; is it on, is sshd running, "
                "does a firewall stand between? (lab: ansible-playbook playbooks/lab.yml)"
            )
        if not banner.startswith(b"SSH-"):
            return f"{name} ({address}:{port}) is no SSH server: it said {banner!r}"
        return ""

    with ThreadPoolExecutor(max_workers=16) as pool:
        return [words for words in pool.map(ask, addresses) if words]


class ActionModule(ActionBase):
    """`preflight:` on localhost, with the whole inventory in sight."""

    _requires_connection = False
    _supports_check_mode = True

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        groups = {name: list(members) for name, members in variables["groups"].items()}
        per_host = variables["hostvars"]
        hosts = {
            name: {key: per_host[name].get(key) for key in ("ansible_host", "storage_volumes")}
            for name in groups["all"]
        }
        first = per_host[groups["all"][0]] if groups["all"] else {}
        names = {*NEEDED, *CONSTRAINED, "site_vip"}
        found = faults(hosts, groups, {name: first.get(name) for name in names})
        if not found:
            ports = {n: int(per_host[n].get("ansible_port") or 22) for n in hosts}
            found = unreachable({n: (str(h["ansible_host"]), ports[n]) for n, h in hosts.items()})
        if found:
            result.update(failed=True, faults=found)
            result["msg"] = "Nothing was changed. To be mended first:\n- " + "\n- ".join(found)
        return result
