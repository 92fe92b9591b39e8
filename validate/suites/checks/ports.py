"""What the processes of a component listen on, against what the contract and the objects name.

Seen on the host itself: a port that nobody speaks of is found although no client knows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from components.kit import contract
from components.kit.probing import Check, Verdict
from validate.core import causes
from validate.ground import Ground, Member

#: Ports of these names, and those that a plain HTTP health probe asks, are meant to be plain.
PLAIN_NAMES = ("metrics", "health", "state")
#: pid, local address, port: sockets in the state LISTEN (0A) that the process itself holds.
SCRIPT = r"""
for pid in "$@"; do
	held=$(readlink /proc/"$pid"/fd/* 2>/dev/null | sed -n 's/^socket:\[\(.*\)\]$/\1/p')
	cat /proc/"$pid"/net/tcp /proc/"$pid"/net/tcp6 2>/dev/null | awk -v pid="$pid" -v held="$held" '
		BEGIN { n = split(held, list, "\n"); for (i = 1; i <= n; i++) mine[list[i]] = 1 }
		$4 == "0A" && ($10 in mine) { print pid, $2 }'
done
"""


@dataclass(frozen=True, order=True)
class Port:
    """Where a member listens; bound to every address, it is the member's own."""

    member: str
    address: str
    port: int


def listening(ground: Ground, members: Iterable[Member]) -> list[Port]:
    """Ports that others can reach; what is bound to 127.0.0.1 or ::1 is the member's own."""
    found = set()
    for member in members:
        if not member.pids:
            continue
        said = ground.machine(member.host).run(SCRIPT, *map(str, member.pids))
        for line in said.splitlines():
            bound, port = parse(line.split()[1])
            bound = getattr(bound, "ipv4_mapped", None) or bound
            if str(bound) not in ("127.0.0.1", "::1"):
                address = member.address if bound.is_unspecified else str(bound)
                found.add(Port(member.name, address, port))
    return sorted(found)


def parse(text: str) -> tuple[IPv4Address | IPv6Address, int]:
    """`0B4D0A0A:1B5A` of /proc/net/tcp: address (32-bit words, little-endian) and port, in hex."""
    raw, _, port = text.partition(":")
    words = [bytes.fromhex(raw[i : i + 8])[::-1] for i in range(0, len(raw), 8)]
    return ip_address(b"".join(words)), int(port, 16)


def declared(component: contract.Component, pods: Sequence[Mapping[str, Any]]) -> tuple[set[int], set[int]]:
    """(all ports that are spoken of, those of them that may be plain)."""
    plain = {m.port for m in component.metrics if m.scheme == "http"}
    known = {m.port for m in component.metrics}
    for endpoint in (*component.endpoints_in, *component.endpoints_out):
        ports = {int(a.rpartition(":")[2]) for a in endpoint.address.split(",")}
        known |= ports
        if endpoint.protocol == "http" or endpoint.protocol.endswith("-metrics"):
            plain |= ports
    for pod in pods:
        for container in pod.get("spec", {}).get("containers", ()):
            named = {str(p.get("name")): int(p["containerPort"]) for p in container.get("ports", ())}
            known |= set(named.values())
            plain |= {port for name, port in named.items() if name in PLAIN_NAMES}
            plain |= set(_probed_plainly(container, named))
    return known, plain


def _probed_plainly(container: Mapping[str, Any], named: Mapping[str, int]) -> Iterable[int]:
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        asked = (container.get(probe) or {}).get("httpGet")
        if asked and asked.get("scheme", "HTTP") == "HTTP":
            port = asked["port"]
            yield named.get(str(port), 0) if isinstance(port, str) else int(port)


def judge(
    found: Sequence[Port], known: set[int], plain: set[int], knocked: Sequence[Mapping[str, Any]], *, secured: bool
) -> Check:
    """`knocked`: what a client found at those ports (validate.pod knock)."""
    name = "listening ports"
    if not found:
        return Check(name, Verdict.INVALID, "no listening socket of any member could be seen")
    unknown = [p for p in found if p.port not in known]
    spoke = {(str(k["host"]), int(k["port"])) for k in knocked if k["plain"]}
    bare = [p for p in found if secured and p.port not in plain and (p.address, p.port) in spoke]
    evidence: dict[str, object] = {"found": [f"{p.member} {p.address}:{p.port}" for p in found]}
    wrong = [f"{p.member} listens on {p.port}, which nobody speaks of" for p in unknown]
    wrong += [f"{p.member} speaks plain text on {p.port}" for p in bare]
    if wrong:
        cause = causes.NO_TLS if bare else causes.OPEN_NETWORK
        return Check(name, Verdict.FAIL, "; ".join(wrong), {**evidence, "cause": cause})
    ports = sorted({p.port for p in found})
    return Check(name, Verdict.PASS, f"{len(found)} sockets, all declared: {ports}", evidence)
