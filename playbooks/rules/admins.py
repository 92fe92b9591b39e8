"""Whether whoever runs the playbooks can still log in when their firewall is in force."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence


def lockout_faults(came_from: Mapping[str, str], networks: Sequence[str], nodes: Iterable[str]) -> list[str]:
    """`came_from`: by host, the address that its sshd saw us come from ("" where it told none). The firewall lets in
    `networks` and the hosts themselves."""
    allowed = [*map(_network, networks), *(ipaddress.ip_network(node) for node in nodes)]
    strangers: dict[str, list[str]] = {}
    for host, address in came_from.items():
        if address and not _holds(allowed, address):
            strangers.setdefault(address, []).append(host)
    return [
        f"{', '.join(hosts)}: you came in from {address}, which is in none of site_admin_networks"
        f" ({', '.join(networks) or 'empty'}): the firewall would lock you out; add {address}/32, or the network that"
        " you come from, or run the playbooks from where they let you in"
        for address, hosts in strangers.items()
    ]


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text, strict=False)


def _holds(allowed: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network], address: str) -> bool:
    seen = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(seen, "ipv4_mapped", None)  # an sshd that listens on IPv6 only
    here = mapped or seen
    return any(here in network for network in allowed if network.version == here.version)
