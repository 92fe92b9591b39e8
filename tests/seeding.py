"""Wrong values of an inventory, each beside a right one that is as close to it as can be."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import scripts

ROLES = Path(__file__).parents[1] / "roles"
preflight = scripts.load(scripts.PLAYBOOKS / "action_plugins" / "preflight.py")
DEFAULTS: dict[str, Any] = preflight.defaults_of(ROLES)
OPENINGS: dict[str, list[int]] = DEFAULTS["base_openings"]
#: What a site says that has nothing to do with its hosts' network.
SITE: dict[str, Any] = {
    "site_name": "acme",
    "site_state": "/srv/state/acme",
    "site_bundle": "/opt/apadana/bundle",
    "site_pod_cidr": "10.244.0.0/16",
    "site_service_cidr": "10.96.0.0/16",
    "site_cluster_domain": "cluster.local",
    "site_web_domain": "acme.internal",
    "site_api_name": "api.acme",
    "site_api_port": 8443,
    "site_registry_name": "registry.acme",
    "site_registry_port": 5443,
}
LONG = "a" * 63
DOMAIN_100 = ".".join(["a" * 49, "b" * 50])


@dataclass(frozen=True)
class Inventory:
    """As the precheck is given it."""

    hosts: dict[str, dict[str, Any]]
    groups: dict[str, list[str]]
    site: dict[str, Any]

    def copy(self) -> Inventory:
        return copy.deepcopy(self)

    def faults(self) -> list[str]:
        found: list[str] = preflight.faults(self.hosts, self.groups, {**DEFAULTS, **self.site})
        return found

    def renamed(self, old: str, new: str) -> Inventory:
        hosts = {new if name == old else name: said for name, said in self.hosts.items()}
        groups = {group: [new if name == old else name for name in names] for group, names in self.groups.items()}
        return Inventory(hosts, groups, self.site)


def right(planes: int = 3, workers: int = 1, octet: int = 1) -> Inventory:
    """A right one; its first control plane is `a1`, its first worker `w1`."""
    names = [f"a{n}" for n in range(1, planes + 1)], [f"w{n}" for n in range(1, workers + 1)]
    hosts: dict[str, dict[str, Any]] = {
        name: {"ansible_host": f"10.{octet}.0.{number}"} for number, name in enumerate([*names[0], *names[1]], start=11)
    }
    site = {
        **SITE,
        "site_network": f"10.{octet}.0.0/24",
        "site_admin_networks": ["172.20.9.0/28"],
        "site_vip": f"10.{octet}.0.10",
    }
    return Inventory(hosts, {"control_plane": names[0], "workers": names[1]}, site)


def opened(caller: str, ports: Any) -> dict[str, Any]:
    return {**OPENINGS, caller: ports}


def volume(**said: Any) -> list[dict[str, Any]]:
    return [{"name": "x", "class": "ssd", "size_gib": 1, "device": "/dev/disk/by-id/x", **said}]


#: (setting, right, wrong, words of what is told)
SETTINGS: list[tuple[str, Any, Any, str]] = [
    # Each of the four hosts takes a /24 of the pods' network.
    ("site_pod_cidr", "10.244.0.0/22", "10.244.0.0/23", "/8 to /22"),
    ("site_pod_cidr", "10.244.0.0/16", "10.244.0.0/24", "/8 to /22"),
    ("site_pod_cidr", "10.244.0.0/16", "10.244.0.0/26", "each of the 4 hosts takes a /24"),
    ("site_pod_cidr", "11.0.0.0/8", "12.0.0.0/7", "/8 to /22"),
    ("site_pod_cidr", "10.244.0.0/16", "10.244.0.1/16", "no host bits"),
    ("site_pod_cidr", "10.244.0.0/16", "10.244.0.0/255.255.0.0", "address/bits"),
    ("site_pod_cidr", "10.244.0.0/16", "10.244.0.0", "address/bits"),
    ("site_pod_cidr", "10.244.0.0/16", "fd00::/56", "an IPv4 network"),
    ("site_pod_cidr", "10.244.0.0/16", "169.254.0.0/16", "no loopback, link-local"),
    ("site_pod_cidr", "100.64.0.0/16", "224.0.0.0/16", "multicast"),
    ("site_pod_cidr", "10.2.0.0/16", "10.1.0.0/16", "site_network 10.1.0.0/24 and site_pod_cidr"),
    ("site_pod_cidr", "10.97.0.0/16", "10.96.0.0/16", "overlap"),
    # The addresses .10 (DNS) and .43 (pages) are taken of the services' network, .1 is the API's.
    ("site_service_cidr", "10.96.0.0/26", "10.96.0.0/27", "loadbalancer_web (address)"),
    ("site_service_cidr", "10.96.0.0/24", "10.96.0.0/29", "kubernetes_dns_address (address)"),
    ("site_service_cidr", "10.96.0.0/26", "10.96.0.64/26", "10.96.0.10"),
    ("site_service_cidr", "10.96.0.0/12", "10.0.0.0/8", "/12 or smaller"),
    ("site_service_cidr", "172.16.0.0/12", "172.16.0.0/11", "no host bits"),
    ("site_service_cidr", "10.96.0.0/16", "fd01::/108", "an IPv4 network"),
    ("site_service_cidr", "10.96.0.0/16", "127.96.0.0/16", "no loopback"),
    ("site_network", "10.1.0.0/24", "fd02::/64", "an IPv4 network"),
    ("site_network", "10.1.0.0/24", "10.1.0.0/29", "it is outside of it"),
    ("site_network", "10.1.0.0/24", "10.1.1.0/24", "it is outside of it"),
    ("site_network", "10.1.0.0/24", "10.1.0.0/33", "an IPv4 network"),
    ("site_vip", "10.1.0.254", "10.1.0.255", "not its first or last"),
    ("site_vip", "10.1.0.1", "10.1.0.0", "not its first or last"),
    ("site_vip", "10.1.0.10", "10.1.0.11", "is the address of a1"),
    ("site_vip", "10.1.0.10", "10.1.1.10", "it is outside of it"),
    ("site_vip", "", "fd00::10", "a free IPv4 address"),
    ("site_vip", "", "api.acme", "a free IPv4 address"),
    ("site_vip", "10.1.0.10", "10.1.0.10/24", "a free IPv4 address"),
    ("kubernetes_dns_address", "10.96.0.10", "10.96.0.11", "network_dns_address, which is"),
    ("network_dns_address", "10.96.0.10", "10.97.0.10", "in site_service_cidr 10.96.0.0/16"),
    ("network_upstream_resolvers", ["10.20.0.53"], ["dns.acme"], "an IPv4 address"),
    ("network_upstream_resolvers", [], ["fd00::53"], "an IPv4 address"),
    ("site_admin_networks", ["172.20.9.0/28"], ["172.20.9.1/28"], "an IPv4 network"),
    ("site_admin_networks", ["172.20.9.1/32"], ["fd00::1/128"], "an IPv4 network"),
    ("site_admin_networks", ["172.20.9.1"], ["office"], "an IPv4 network"),
    ("site_admin_networks", ["172.20.0.0/24", "172.20.1.0/24"], ["172.20.0.0/16", "172.20.1.0/24"], "overlap"),
    ("site_admin_networks", ["172.20.0.0/24"], [], "site_admin_networks is not set"),
    ("site_web_networks", ["10.0.0.0/8"], ["10.0.0.0/8", "10.9.0.1/32"], "overlap"),
    ("site_web_networks", ["0.0.0.0/0"], ["::/0"], "an IPv4 network"),
    ("site_api_port", 8443, 6443, "kube-apiserver has this one"),
    ("site_api_port", "8443", 5443, "site_api_port has this one"),
    ("site_api_port", 8443, 9443, "admins lacks the port 9443 of site_api_port"),
    ("site_api_port", 8443, 30443, "those of the cluster's services"),
    ("site_api_port", 8443, 0, "1 to 65535"),
    ("site_api_port", 8443, 65536, "1 to 65535"),
    ("site_api_port", 8443, True, "1 to 65535"),
    ("site_registry_port", 5443, 8443, "site_api_port has this one"),
    ("site_registry_port", 5443, 10250, "kubelet has this one"),
    ("site_registry_port", 5443, 2379, "etcd has this one"),
    ("site_registry_port", 5443, 5000, "site_registry_port has this one"),
    ("site_registry_port", 5443, "5443/tcp", "1 to 65535"),
    ("site_web_port", 443, 444, "people lacks the port 444 of site_web_port"),
    ("site_web_port", 443, 179, "kube-router has this one"),
    ("loadbalancer_registry_port", 5000, 5001, "registry_listen_port, which is 5000"),
    ("registry_listen_port", 5000, 22, "give both the same"),
    ("base_openings", opened("admins", [22, 8443]), opened("admins", [8443]), "port 22 of SSH"),
    ("base_openings", OPENINGS, opened("nodes", [2379, 2380, 6443, 10250, 5000]), "port 179"),
    ("base_openings", OPENINGS, opened("people", []), "not empty"),
    ("base_openings", OPENINGS, opened("pods", [443, "all"]), "1 to 65535"),
    ("base_openings", OPENINGS, {"nodes": OPENINGS["nodes"]}, "nodes, pods, admins, people"),
    ("site_name", "acme-2", "acme_2", "lower-case letters"),
    ("site_name", "acme", "Acme", "lower-case letters"),
    ("site_name", "acme", "../acme", "lower-case letters"),
    ("site_name", "nope", "no", "lower-case letters"),
    ("site_name", "a" * 40, "a" * 41, "at most 40"),
    ("site_api_name", "api.acme", "API.acme", "a DNS name"),
    ("site_api_name", "api.acme", "api_acme", "a DNS name"),
    ("site_api_name", "api.acme", "10.1.0.10", "a DNS name"),
    ("site_registry_name", "registry.acme", "registry.acme:5443", "a DNS name"),
    ("site_registry_name", "registry.acme", "https://registry.acme", "a DNS name"),
    ("site_registry_name", "registry.acme", "localhost", "a DNS name"),
    ("site_cluster_domain", "cluster.local", "cluster.local.", "joined by dots"),
    ("site_cluster_domain", "cluster.local", "Cluster.local", "joined by dots"),
    ("site_cluster_domain", "cluster.local", "cluster_local", "joined by dots"),
    ("site_cluster_domain", "cluster.local", "cluster..local", "joined by dots"),
    ("site_cluster_domain", DOMAIN_100, f"{DOMAIN_100}b", "at most 100"),
    ("site_cluster_domain", "k8s.acme", "acme.internal", "no name that holds"),
    ("site_web_domain", "acme.internal", "pages.cluster.local", "no name that holds"),
    ("site_web_domain", "acme.local", "local", "no name that holds"),
    ("site_web_domain", "acme.internal", "*.acme.internal", "joined by dots"),
    ("site_issuer", "https://identity.acme.internal/realms/platform", "http://identity.acme.internal", "https://host"),
    ("site_issuer", "https://login.acme", "https://login.acme/", "as the issuer's tokens say it"),
    ("site_issuer", "", "identity.acme.internal", "https://host"),
    ("site_issuer_ca", "/srv/ca.crt", "ca.crt", "a whole path"),
    ("site_issuer_roles_claim", "groups", "realm_access.roles", "at the top of the token"),
    ("site_state", "/srv/state", "/srv/the state", "a whole path"),
    ("site_state", "/srv/state", "state", "a whole path"),
    ("site_state", "/srv/state", "~/state", "a whole path"),
    ("site_bundle", "/opt/bundle", "/opt/my bundle", "a whole path"),
    ("site_bundle", "/opt/bundle", "/opt/bundle/", "a whole path"),
    ("loadbalancer_interface", "eno1", "eno1 eno2", "a network interface"),
    ("loadbalancer_interface", "a" * 15, "a" * 16, "a network interface"),
    ("loadbalancer_router_id", 255, 256, "1 to 255"),
    ("loadbalancer_router_id", 1, 0, "1 to 255"),
    ("kubernetes_node_monitor_grace", "20s", "20", "a duration"),
    ("kubernetes_node_monitor_grace", "1m30s", "1 m", "a duration"),
    ("kubernetes_control_plane_cpu", "500m", "500 m", "processors"),
    ("kubernetes_control_plane_cpu", "2", "0", "processors"),
    ("base_journal_max", "500M", "500MB", "a size"),
    ("kubernetes_shutdown_grace_seconds", 80, 79, "at least 80: the 60 s of a store"),
    ("kubernetes_shutdown_grace_seconds", "90", 0, "at most kubernetes_shutdown_grace_seconds, which is 0"),
    ("kubernetes_shutdown_grace_seconds", 600, "90s", "whole seconds"),
    ("kubernetes_shutdown_critical_seconds", 30, 31, "kubernetes_shutdown_grace_seconds is 90"),
    ("kubernetes_shutdown_critical_seconds", 0, True, "whole seconds"),
]

#: (variable of one host, right, wrong, words); of the worker `w1`
OF_A_HOST: list[tuple[str, Any, Any, str]] = [
    ("ansible_host", "10.1.0.21", "10.1.0.255", "w1: ansible_host is '10.1.0.255'"),
    ("ansible_host", "10.1.0.21", "10.1.0.0", "not its first or last"),
    ("ansible_host", "10.1.0.21", "10.2.0.21", "it is outside of it"),
    ("ansible_host", "10.1.0.21", "fd00::21", "an IPv4 address"),
    ("ansible_host", "10.1.0.21", "w1.acme", "an IPv4 address"),
    ("ansible_host", "10.1.0.21", None, "an IPv4 address"),
    ("ansible_host", "10.1.0.21", "10.1.0.11", "have the same address"),
    ("ansible_host", "10.1.0.21", "10.1.0.10", "site_vip 10.1.0.10 is the address of w1"),
    ("node_labels", {"apadana.io/pool": "gpu"}, {"kubernetes.io/pool": "gpu"}, "may not give"),
    ("node_labels", {"acme.io/role": "x"}, {"node-role.kubernetes.io/gpu": ""}, "may not give"),
    ("node_labels", {"node.kubernetes.io/disk": "ssd"}, {"k8s.io/disk": "ssd"}, "may not give"),
    ("node_labels", {"topology.kubernetes.io/zone": "z"}, {"topology.kubernetes.io/rack": "z"}, "may not give"),
    ("node_labels", {"kubelet.kubernetes.io/a": "b"}, {"node-restriction.kubernetes.io/a": "b"}, "may not give"),
    ("node_labels", {"notkubernetes.io/a": "b"}, {"sub.k8s.io/a": "b"}, "may not give"),
    ("node_labels", {"a/b": "c"}, {"a/b/c": "d"}, "a DNS name and a slash"),
    ("node_labels", {"pool": "g p u".replace(" ", "-")}, {"pool": "g p u"}, "letters, digits"),
    ("node_labels", {"pool": "a" * 63}, {"pool": "a" * 64}, "letters, digits"),
    ("node_labels", {"pool": "a"}, {"pool": "a,b=c"}, "letters, digits"),
    ("node_labels", {"gpu": "true"}, {"gpu": True}, "a text; quote it"),
    ("node_labels", {"gpu": 1}, {"gpu": 1.5}, "a text; quote it"),
    ("node_labels", {"gpu": ""}, {"gpu": None}, "a text; quote it"),
    ("node_labels", {}, ["pool=gpu"], "a mapping"),
    ("node_taints", ["a=b:NoSchedule"], ["a=b:NoScheduling"], "the effect one of NoSchedule"),
    ("node_taints", ["a=:NoSchedule"], ["a:NoSchedule"], "key=value:Effect"),
    ("node_taints", ["a/b=c:NoExecute"], ["a b=c:NoExecute"], "a key and a value"),
    (
        "node_taints",
        ["a=b:NoSchedule", "a=b:NoExecute"],
        ["a=b:NoSchedule", "a=c:NoSchedule"],
        "a node has one of each",
    ),
    ("node_taints", ["a=b:PreferNoSchedule"], {"a": "b"}, "a list"),
    ("storage_volumes", volume(), volume()[0], "storage_volumes is {'name': 'x'"),
    ("storage_volumes", [], ["x"], "storage_volumes (one of it) is 'x'"),
    ("storage_volumes", [], "x", "allowed: a list"),
    ("storage_volumes", volume(), volume(name="X"), "the name of a volume is 'X'"),
    ("storage_volumes", volume(), volume(name="x/y"), "the name of a volume is 'x/y'"),
    ("storage_volumes", volume(), volume(**{"class": "nvme"}), "allowed are ssd, hdd, system"),
    ("storage_volumes", volume(size_gib=1), volume(size_gib="1G"), "whole GiB"),
    ("storage_volumes", volume(size_gib=1), volume(size_gib=True), "whole GiB"),
    ("storage_volumes", volume(), volume(disk="sdb"), "see ['disk']"),
    ("storage_volumes", volume(room="kafka"), volume(room="Kafka"), "the room that the volume is for"),
    ("storage_volumes", volume(device="/dev/disk/by-id/wwn-0x5000"), volume(device="/dev/sdb"), "a name that lasts"),
    ("storage_volumes", volume(device="/dev/vg0/kafka"), volume(device="sdb"), "a name that lasts"),
    ("storage_volumes", volume(device="/dev/mapper/x"), volume(device="/dev/mapper/../sdb"), "a name that lasts"),
    (
        "storage_volumes",
        volume(device="/dev/disk/by-path/x"),
        volume(device="/dev/disk/by-uuid/x"),
        "a name that lasts",
    ),
    ("storage_volumes", volume(), [{"name": "x", "class": "ssd", "size_gib": 1}], "x name no device"),
    ("storage_volumes", volume(), [*volume(), *volume(name="y")], "stands 2 times; a device has one volume"),
    ("storage_volumes", volume(name="etcd"), volume(name="etcd", **{"class": "system"}), "of a control plane"),
]

#: (right name of a host, wrong name, words)
NAMES: list[tuple[str, str, str]] = [
    ("w-1", "w_1", "host 'w_1'"),
    ("w1", "W1", "host 'W1'"),
    ("w1.acme", "w1..acme", "host 'w1..acme'"),
    ("w1", "w1-", "host 'w1-'"),
    ("w1", "-w1", "host '-w1'"),
    ("w1", "wörker", "host 'wörker'"),
    (LONG, f"{LONG}a", "at most 63 long"),
    ("registry", "registry.acme", "has this name for itself"),
    ("api", "api.acme", "has this name for itself"),
    ("local", "localhost", "has this name for itself"),
]


@dataclass(frozen=True)
class Seed:
    """One mistake that is put into a right inventory, and the words that it must be told with."""

    where: str
    value: Any
    words: str

    def __str__(self) -> str:
        return f"{self.where}={self.value!r}"

    def put(self, into: Inventory) -> Inventory:
        found = into.copy()
        if self.where == "name":
            return found.renamed("w1", self.value)
        if self.where in {name for name, *_ in OF_A_HOST}:
            found.hosts["w1"][self.where] = self.value
        else:
            found.site[self.where] = self.value
        return found


WRONG = [
    *(Seed(name, wrong, words) for name, _, wrong, words in SETTINGS),
    *(Seed(name, wrong, words) for name, _, wrong, words in OF_A_HOST),
    *(Seed("name", wrong, words) for _, wrong, words in NAMES),
]
RIGHT = [
    *(Seed(name, value, "") for name, value, *_ in SETTINGS),
    *(Seed(name, value, "") for name, value, *_ in OF_A_HOST),
    *(Seed("name", value, "") for value, *_ in NAMES),
]
