"""Reads the whole inventory before anything is changed and tells every mistake at once.

`faults` is pure: plain dictionaries in, sentences out. What has to be tried on the hosts themselves
(the way in, the disk) is the matter of `reach`.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

NEEDED = (
    "site_name",
    "site_state",
    "site_bundle",
    "site_network",
    "site_pod_cidr",
    "site_service_cidr",
    "site_cluster_domain",
    "site_web_domain",
    "site_api_name",
    "site_api_port",
    "site_registry_name",
)
CLASSES = ("ssd", "hdd", "system")  # the last one is for what the cluster itself stands on
ETCD, ETCD_GIB = "etcd", 2  # its write-ahead log and snapshots take one of them
LAB = "lab_name"  # what the inventory of machines that lab.yml makes says
CONSTRAINED = (
    "site_constrained",
    "kubernetes_kubelet_extra",
    "kubernetes_kubelet_flags",
    "kubernetes_proxy_extra",
    "kubernetes_ignore_preflight",
    "containerd_restrict_oom_score_adj",
    "storage_loop_nodes",
)
# What the playbooks themselves read, beside the options of the roles.
OF_PLAYBOOKS = ("site_roles",)
SHARED_PREFIXES = ("site", "node")

Hosts = Mapping[str, Mapping[str, Any]]
Options = Mapping[str, Mapping[str, Any]]


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
        *admin_faults(site),
        *volume_faults(hosts),
        *system_faults(hosts, groups),
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


def admin_faults(site: Mapping[str, Any]) -> list[str]:
    """The firewall would refuse a wrong one, but only after the packages were installed."""
    given = site.get("site_admin_networks") or []
    return [
        f"site_admin_networks has {text!r}; give networks like 10.20.9.0/28, one address as /32"
        for text in (given if isinstance(given, list) else [given])
        if as_network(text) is None
    ]


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


def system_faults(hosts: Hosts, groups: Mapping[str, Iterable[str]]) -> list[str]:
    """The folder of etcd is one setting of the whole cluster: all of its members have the volume,
    or none."""
    planes = list(groups.get("control_plane", ()))
    having, found = set(), []
    for name, host in hosts.items():
        for volume in host.get("storage_volumes") or []:
            if volume.get("class") != "system":
                continue
            if volume.get("name") != ETCD or name not in planes:
                found.append(
                    f"{name}: volume {volume.get('name')} has class 'system', which only the "
                    f"volume {ETCD} of a control plane has; give it class ssd or hdd, or remove it"
                )
                continue
            having.add(name)
            size = volume.get("size_gib")
            if isinstance(size, int) and size < ETCD_GIB:
                found.append(f"{name}: volume {ETCD} has size_gib {size}; give {ETCD_GIB} or more")
    lacking = [name for name in planes if name not in having]
    if having and lacking:
        found.append(
            f"{', '.join(lacking)} of control_plane have no volume {ETCD} of class system, and "
            f"{', '.join(sorted(having))} have; give it to all of them or to none"
        )
    return found


def constrained_faults(site: Mapping[str, Any]) -> list[str]:
    if site.get(LAB):
        return []
    return [
        f"{name} is set on site {site['site_name']}: it is for the constrained lab only "
        f"(constrained.yml, beside {LAB} in the inventory of a lab); remove it from this inventory"
        for name in CONSTRAINED
        if site.get(name)
    ]


def options_of(roles: Path) -> dict[str, Mapping[str, Any]]:
    """Every setting that a role knows, with its type, from the argument specs and the defaults."""
    known: dict[str, Mapping[str, Any]] = {}
    for path in sorted(roles.glob("*/defaults/main.yml")):
        known |= {name: {} for name in yaml.safe_load(path.read_text(encoding="utf-8")) or {}}
    for path in sorted(roles.glob("*/meta/argument_specs.yml")):
        known |= yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"][
            "options"
        ]
    return known


def unknown_faults(
    named: Mapping[str, Iterable[str]], known: Collection[str], roles: Iterable[str]
) -> list[str]:
    """Settings that look like ours and that nothing reads: mistyped, or of another version."""
    prefixes = tuple(f"{word}_" for word in (*SHARED_PREFIXES, *roles))
    known = {*known, *NEEDED, *CONSTRAINED, *OF_PLAYBOOKS}
    strange: dict[str, list[str]] = {}
    for host, names in named.items():
        for name in names:
            if name.startswith(prefixes) and name not in known:
                strange.setdefault(name, []).append(host)
    found = []
    for name, hosts in sorted(strange.items()):
        near = difflib.get_close_matches(name, known, n=1)
        advice = f"did you mean {near[0]}?" if near else "take it away"
        found.append(f"{name} (set for {', '.join(hosts)}) is no setting of any role: {advice}")
    return found


def type_faults(hosts: Hosts, options: Options) -> list[str]:
    """Values that a role would refuse, told here, because the roles before it would have run."""
    wrong: dict[str, list[str]] = {}
    for host, variables in hosts.items():
        for name, value in variables.items():
            told = type_fault(name, value, options.get(name, {}))
            if told:
                wrong.setdefault(told, []).append(host)
    return [f"{told} (set for {', '.join(names)})" for told, names in wrong.items()]


def type_fault(name: str, value: Any, option: Mapping[str, Any]) -> str:
    spec = {key: option[key] for key in ("type", "elements", "choices") if key in option}
    if not spec or value is None:
        return ""
    if not ArgumentSpecValidator({name: spec}).validate({name: value}).error_messages:
        return ""
    allowed = option.get("choices") or [option.get("type", "str")]
    if "elements" in option:
        allowed = [f"list of {option['elements']}"]
    return f"{name} is {value!r}; allowed: {', '.join(map(str, allowed))}"


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
        names = {*NEEDED, *CONSTRAINED, LAB, "site_vip", "site_admin_networks"}
        found = self.setting_faults({name: per_host[name] for name in groups["all"]})
        found += faults(hosts, groups, {name: first.get(name) for name in names})
        if found:
            result.update(failed=True, faults=found)
            where = first.get("inventory_dir") or "the inventory"
            result["msg"] = "\n- ".join(
                [f"Nothing was changed. To be mended first in {where}:", *found]
            )
        return result

    def setting_faults(self, per_host: Hosts) -> list[str]:
        """Names first: a host has many variables of Ansible's own, whose values nobody needs."""
        start = Path(self._loader.get_basedir())
        roles = next(f / "roles" for f in (start, *start.parents) if (f / "roles").is_dir())
        options = options_of(roles)
        folders = [path.name for path in sorted(roles.iterdir()) if path.is_dir()]
        named = {host: list(variables) for host, variables in per_host.items()}
        typed = {
            host: {name: per_host[host].get(name) for name in names if name in options}
            for host, names in named.items()
        }
        return [*unknown_faults(named, options, folders), *type_faults(typed, options)]
