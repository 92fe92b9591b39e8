"""Networks and addresses of a site. All of it is IPv4: the firewall's sets, the load balancer's
doors and the routes of pods are."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

from playbooks.rules.telling import wrong

Hosts = Mapping[str, Mapping[str, Any]]
Network = ipaddress.IPv4Network
NETWORKS = ("site_network", "site_pod_cidr", "site_service_cidr")
NODE_BITS = 24  # what kube-controller-manager gives each node of the pods' network
MOST_NODE_BITS = 16  # kubeadm: more nodes than these it can't count
LEAST_SERVICE_BITS = 12  # kube-apiserver: a larger network it does not take
DNS, WEB = 10, 43  # the last byte of the addresses that the roles take of the services' network


def as_network(text: Any) -> Network | None:
    """Written as its consumers split it: address, slash, bits; no host bits."""
    try:
        found = ipaddress.IPv4Network(str(text))
    except ValueError:
        return None
    return found if str(found) == str(text) else None


def as_address(text: Any) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(str(text))
    except ValueError:
        return None


def is_ours(network: Network) -> bool:
    """No part of it has a meaning of its own for every host."""
    special = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4")
    return not any(network.overlaps(ipaddress.IPv4Network(each)) for each in special)


def network_faults(site: Mapping[str, Any], hosts: int) -> list[str]:
    networks = {name: as_network(site[name]) for name in NETWORKS}
    found = [
        wrong(name, site[name], "an IPv4 network as address/bits, no host bits", "correct it")
        for name, network in networks.items()
        if network is None
    ]
    known = [(name, network) for name, network in networks.items() if network is not None]
    found += [
        wrong(name, str(network), "no loopback, link-local, multicast", "choose another network")
        for name, network in known
        if not is_ours(network)
    ]
    found += [
        f"{one} {first} and {other} {second} overlap; packets would go astray: choose others"
        for (one, first), (other, second) in combinations(known, 2)
        if first.overlaps(second)
    ]
    if networks["site_pod_cidr"]:
        found += pod_faults(networks["site_pod_cidr"], hosts)
    if networks["site_service_cidr"]:
        found += service_faults(networks["site_service_cidr"], site)
    return found


def pod_faults(network: Network, hosts: int) -> list[str]:
    """Every host gets a /24 of it when it joins; one that gets none never becomes Ready."""
    least, most = NODE_BITS - MOST_NODE_BITS, NODE_BITS - max(hosts - 1, 0).bit_length()
    if least <= network.prefixlen <= most:
        return []
    allowed = f"/{least} to /{most}, since each of the {hosts} hosts takes a /{NODE_BITS} of it"
    return [wrong("site_pod_cidr", str(network), allowed, "give a network of such a size")]


def service_faults(network: Network, site: Mapping[str, Any]) -> list[str]:
    if network.prefixlen < LEAST_SERVICE_BITS:
        allowed = f"/{LEAST_SERVICE_BITS} or smaller, the API server takes no larger one"
        return [wrong("site_service_cidr", str(network), allowed, "give a smaller network")]
    byte = int(network.network_address) & ~0xFF
    dns, web = (ipaddress.IPv4Address(byte + last) for last in (DNS, WEB))
    given = {
        "kubernetes_dns_address": site.get("kubernetes_dns_address") or dns,
        "network_dns_address": site.get("network_dns_address") or dns,
        "loadbalancer_web": (site.get("loadbalancer_web") or {}).get("address", web),
    }
    usable = f"an address in site_service_cidr {network}, not its first two, nor its last"
    found = [
        wrong(f"{name} (address)", str(text), usable, "give a larger site_service_cidr, as /24")
        for name, text in given.items()
        if not _is_free(as_address(text), network)
    ]
    kubelets, server = str(given["kubernetes_dns_address"]), str(given["network_dns_address"])
    if kubelets != server:
        allowed = f"network_dns_address, which is {server}"
        found.append(wrong("kubernetes_dns_address", kubelets, allowed, "give both the same, or neither"))
    return found


def _is_free(address: ipaddress.IPv4Address | None, network: Network) -> bool:
    if address is None or address not in network:
        return False
    first = network.network_address  # the next one is the API's own
    return address not in (first, first + 1, network.broadcast_address)


def address_faults(hosts: Hosts, site: Mapping[str, Any]) -> list[str]:
    network, named = as_network(site["site_network"]), dict[str, list[str]]()
    found = []
    for name, host in hosts.items():
        raw = str(host.get("ansible_host") or "")
        address = as_address(raw)
        if address is None:
            subject, action = f"{name}: ansible_host", "give its address in hosts.yml"
            found.append(wrong(subject, raw, "an IPv4 address", action))
            continue
        named.setdefault(raw, []).append(name)
        if network:
            found += _place_faults(f"{name}: ansible_host", address, network)
    found += [
        f"{', '.join(names)} have the same address {raw}; give each its own in hosts.yml"
        for raw, names in named.items()
        if len(names) > 1
    ]
    return found + vip_faults(str(site.get("site_vip") or ""), named, network)


def vip_faults(vip: str, named: Mapping[str, list[str]], network: Network | None) -> list[str]:
    if not vip:
        return []
    address = as_address(vip)
    if address is None:
        action = "give one, or leave it empty"
        return [wrong("site_vip", vip, "a free IPv4 address of site_network", action)]
    if vip in named:
        return [f"site_vip {vip} is the address of {named[vip][0]}; give a free one"]
    return _place_faults("site_vip", address, network) if network else []


def _place_faults(subject: str, address: ipaddress.IPv4Address, network: Network) -> list[str]:
    if address not in network:
        told = f"an address of site_network {network}; it is outside of it"
    elif network.prefixlen < 31 and address in (network.network_address, network.broadcast_address):
        told = f"an address of a host in site_network {network}, not its first or last"
    else:
        return []
    return [wrong(subject, str(address), told, "give another address")]


def admin_faults(site: Mapping[str, Any]) -> list[str]:
    """The firewall would refuse a wrong one, but only after the packages were installed."""
    found = []
    for name in ("site_admin_networks", "site_web_networks"):
        given = site.get(name) or []
        listed = given if isinstance(given, list) else [given]
        found += [
            wrong(f"{name} (one of it)", text, "an IPv4 network", "one address is a /32")
            for text in listed
            if _of_people(text) is None
        ]
        found += _nested(name, {_of_people(text) for text in listed})
    return found


def _of_people(text: Any) -> Network | None:
    """The firewall takes one address as it stands, too."""
    return as_network(text) or as_network(f"{text}/32")


def _nested(name: str, networks: Iterable[Network | None]) -> list[str]:
    known = sorted(network for network in networks if network is not None)
    return [
        f"{name} has {one} and {other}, which overlap; the firewall takes no such set: keep the larger one"
        for one, other in combinations(known, 2)
        if one.overlaps(other)
    ]


def resolver_faults(site: Mapping[str, Any]) -> list[str]:
    """CoreDNS ends at once on a forward that is no address."""
    return [
        wrong("network_upstream_resolvers (one of it)", text, "an IPv4 address", "correct it")
        for text in site.get("network_upstream_resolvers") or []
        if as_address(text) is None
    ]
