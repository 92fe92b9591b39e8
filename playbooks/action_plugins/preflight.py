"""Reads the whole inventory before anything is changed and tells every mistake at once.

`faults` is pure: plain dictionaries in, sentences out. What has to be tried on the hosts themselves
(the way in, the disk) is the matter of `reach`.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

sys.path.append(str(Path(__file__).resolve().parents[2]))

from common.inventory import LAB
from playbooks.rules import networks, ports, shutdown, telling, volumes, wishes, words

NEEDED = (
    "site_name",
    "site_state",
    "site_bundle",
    "site_network",
    "site_admin_networks",
    "site_pod_cidr",
    "site_service_cidr",
    "site_cluster_domain",
    "site_web_domain",
    "site_api_name",
    "site_api_port",
    "site_registry_name",
    "site_registry_port",
)
#: Read where they are set; the rules of roles/*/defaults know their defaults.
READ = (
    "site_vip",
    "site_web_networks",
    "site_web_port",
    "base_openings",
    "kubernetes_dns_address",
    "loadbalancer_registry_port",
    "loadbalancer_web",
    "network_dns_address",
    "network_upstream_resolvers",
    "registry_listen_port",
    "ansible_port",
    shutdown.GRACE,
    shutdown.CRITICAL,
    *words.WORDS,
)
OF_HOSTS = ("ansible_host", "storage_volumes", "node_labels", "node_taints", shutdown.GRACE, shutdown.CRITICAL)
#: What a host says otherwise than the others is a site in two halves.
OF_ONE_VALUE = tuple(name for name in NEEDED if name not in ("site_state", "site_bundle"))
CONSTRAINED = (
    "site_constrained",
    "kubernetes_kubelet_extra",
    "kubernetes_kubelet_flags",
    "kubernetes_proxy_extra",
    "kubernetes_ignore_preflight",
    "containerd_restrict_oom_score_adj",
    "storage_loop_nodes",
    "packages_unsafe_io",
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
        if site.get(name) in (None, "", [])
    ]
    if missing:
        return missing
    planes = list(groups.get("control_plane", []))
    return [
        *control_plane_faults(planes),
        *group_faults(planes, list(groups.get("workers", [])), hosts),
        *words.host_name_faults(hosts, site),
        *networks.address_faults(hosts, site),
        *networks.network_faults(site, len(hosts)),
        *networks.admin_faults(site),
        *networks.resolver_faults(site),
        *ports.port_faults(site),
        *words.word_faults(site),
        *words.node_faults(hosts),
        *shutdown.shutdown_faults(hosts, site, lab=bool(site.get(LAB))),
        *volumes.volume_faults(hosts),
        *volumes.device_faults(hosts, lab=bool(site.get(LAB))),
        *volumes.system_faults(hosts, groups),
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


def constrained_faults(site: Mapping[str, Any]) -> list[str]:
    if site.get(LAB):
        return []
    return [
        f"{name} is set on site {site['site_name']}: it is for the constrained lab only "
        f"(constrained.yml, beside {LAB} in the inventory of a lab); remove it from this inventory"
        for name in CONSTRAINED
        if site.get(name)
    ]


def split_faults(per_host: Hosts) -> list[str]:
    """A setting of the whole site that a host has otherwise: half of a cluster is made of each."""
    found = []
    for name in OF_ONE_VALUE:
        said: dict[str, list[str]] = {}
        for host, variables in per_host.items():
            said.setdefault(repr(telling.plain(variables.get(name))), []).append(host)
        if len(said) > 1:
            told = "; ".join(f"{value} for {', '.join(where)}" for value, where in said.items())
            found.append(f"{name} is {told}; allowed: one value for all: set it in group_vars/all")
    return found


def defaults_of(roles: Path) -> dict[str, Any]:
    """What a setting is that the inventory leaves out; templates, which only Ansible knows, not."""
    known: dict[str, Any] = {}
    for path in sorted(roles.glob("*/defaults/main.yml")):
        said = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        known |= {name: literal(said[name]) for name in READ if name in said}
    return {name: value for name, value in known.items() if value is not None}


def literal(value: Any) -> Any:
    """Without what is a template."""
    if isinstance(value, dict):
        return {key: each for key, each in value.items() if literal(each) is not None}
    return None if isinstance(value, str) and "{{" in value else value


def options_of(roles: Path) -> dict[str, Mapping[str, Any]]:
    """Every setting that a role knows, with its type, from the argument specs and the defaults."""
    known: dict[str, Mapping[str, Any]] = {}
    for path in sorted(roles.glob("*/defaults/main.yml")):
        known |= {name: {} for name in yaml.safe_load(path.read_text(encoding="utf-8")) or {}}
    for path in sorted(roles.glob("*/meta/argument_specs.yml")):
        known |= yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"]["main"]["options"]
    return known


def unknown_faults(named: Mapping[str, Iterable[str]], known: Collection[str], roles: Iterable[str]) -> list[str]:
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

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        groups = {name: list(members) for name, members in variables["groups"].items()}
        per_host = {name: variables["hostvars"][name] for name in groups["all"]}
        hosts = {name: {key: said.get(key) for key in OF_HOSTS} for name, said in per_host.items()}
        first: Mapping[str, Any] = next(iter(per_host.values()), {})
        said = {name: first[name] for name in {*NEEDED, *CONSTRAINED, *READ, LAB} if name in first}
        options = options_of(self.roles())
        found = self.setting_faults(per_host, options) + split_faults(per_host)
        found += faults(hosts, groups, {**defaults_of(self.roles()), **said})
        folder = first.get("inventory_dir")
        if not found and folder:  # of a wrong inventory nothing can be said
            found = wishes.wish_faults(str(said["site_name"]), Path(folder), Path(str(said["site_state"])))
        if found:
            places = telling.origins(Path(folder)) if folder else {}
            told = [telling.with_place(fault, options, hosts, places) for fault in found]
            result.update(failed=True, faults=told)
            result["msg"] = "\n- ".join(
                [f"Nothing was changed. To be mended first in {folder or 'the inventory'}:", *told]
            )
        return result

    def roles(self) -> Path:
        start = Path(self._loader.get_basedir())
        return next(f / "roles" for f in (start, *start.parents) if (f / "roles").is_dir())

    def setting_faults(self, per_host: Hosts, options: Options) -> list[str]:
        """Names first: a host has many variables of Ansible's own, whose values nobody needs."""
        folders = [path.name for path in sorted(self.roles().iterdir()) if path.is_dir()]
        named = {host: list(variables) for host, variables in per_host.items()}
        typed = {
            host: {name: per_host[host].get(name) for name in names if name in options} for host, names in named.items()
        }
        return [*unknown_faults(named, options, folders), *type_faults(typed, options)]
