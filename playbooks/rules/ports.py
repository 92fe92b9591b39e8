"""Ports of a site: none is taken twice on a host, and the firewall lets those in who use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from playbooks.rules.telling import wrong

#: What listens on every host, or on every control plane, whatever the inventory says.
FIXED = {
    22: "sshd",
    179: "kube-router",
    2379: "etcd",
    2380: "etcd",
    2381: "etcd",
    6443: "kube-apiserver",
    10248: "kubelet",
    10249: "kube-proxy",
    10250: "kubelet",
    10256: "kube-proxy",
    10257: "kube-controller-manager",
    10259: "kube-scheduler",
    20244: "kube-router",
}
DOORS = ("site_api_port", "site_registry_port", "site_web_port", "loadbalancer_registry_port")
NODE_PORTS = range(30000, 32768)  # kube-proxy takes them before any program of the host does
CALLERS = ("nodes", "pods", "admins", "people")
#: Who can't work without which: members each other, metrics of the kubelets, kubectl.
NEEDED = {"nodes": (179, 2379, 2380, 6443, 10250), "pods": (6443, 10250)}


def as_port(value: Any) -> int | None:
    """Ansible takes a number either way; a truth is none."""
    if isinstance(value, bool) or not str(value).isdecimal():
        return None
    return int(value) if 1 <= int(value) <= 65535 else None


def port_faults(site: Mapping[str, Any]) -> list[str]:
    found, taken = [], dict(FIXED)
    for name in DOORS:
        port = as_port(site[name])
        if port is None:
            found.append(wrong(name, site[name], "a number from 1 to 65535", "correct it"))
        elif port in NODE_PORTS:
            allowed = "no port from 30000 to 32767, which are those of the cluster's services"
            found.append(wrong(name, port, allowed, "choose another port"))
        elif port in taken:
            allowed = f"a port of its own; {taken[port]} has this one"
            found.append(wrong(name, port, allowed, "choose another port"))
        else:
            taken[port] = name
    behind, listens = site["loadbalancer_registry_port"], site["registry_listen_port"]
    if as_port(behind) != as_port(listens):
        allowed = f"registry_listen_port, which is {listens}"
        found.append(wrong("loadbalancer_registry_port", behind, allowed, "give both the same"))
    return [*found, *opening_faults(site)]


def opening_faults(site: Mapping[str, Any]) -> list[str]:
    openings = site["base_openings"]
    if not isinstance(openings, Mapping) or set(openings) != set(CALLERS):
        allowed = f"a list of ports for each of {', '.join(CALLERS)}"
        return [wrong("base_openings", openings, allowed, "name all of them")]
    found = []
    for caller, ports in openings.items():
        listed = ports if isinstance(ports, list) else [ports]
        bad = [port for port in listed if as_port(port) is None]
        if bad or not listed:
            allowed = "a list of numbers from 1 to 65535, not empty"
            found.append(wrong(f"base_openings: {caller}", ports, allowed, "correct it"))
            continue
        shut = _shut(_wanted(caller, site), {as_port(port) for port in listed})
        found += [
            f"base_openings: {caller} lacks the port {port} of {what}: the firewall would drop what comes there; add it"
            for port, what in shut
        ]
    return found


def _wanted(caller: str, site: Mapping[str, Any]) -> dict[int | None, str]:
    wanted: dict[int | None, str] = {port: FIXED[port] for port in NEEDED.get(caller, ())}
    names = {
        "nodes": ("loadbalancer_registry_port",),
        "pods": ("site_web_port",),
        "admins": ("site_api_port",),
        "people": ("site_web_port",),
    }[caller]
    wanted |= {as_port(site[name]): name for name in names}
    if caller == "admins":
        wanted[as_port(site.get("ansible_port") or 22)] = "SSH, by which Ansible comes"
    return wanted


def _shut(wanted: Mapping[int | None, str], opened: Iterable[int | None]) -> list[tuple[int, str]]:
    there = set(opened)
    return [(port, what) for port, what in wanted.items() if port and port not in there]
