"""Faults of the network: cut in one or both directions, lossy, slow, a port that refuses.

Rules stand in an nft table of their own, named by the fault, in the network namespace of the
target. Where that is the machine's own (a process or a pod on the host's network), only packets
of the member's address and port are touched, so that the machine itself stays in reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from validate.chaos.envelope import Injection

TABLE = "apadana_fault_"
HANDLE = "fa17:"  # of the tbf qdisc: how the undo knows its own
EARLY = -310  # before connection tracking, before any rule of the platform


@dataclass(frozen=True)
class Socket:
    """Where a member listens, for a namespace that it shares with others."""

    address: str = ""
    ports: tuple[int, ...] = ()


def cut(
    process: str, direction: str, *, peers: Sequence[str] = (), socket: Socket | None = None
) -> Injection:
    """`direction`: both | in | out, seen from the member. `peers`: only these addresses."""
    return _filtered("network-cut", process, direction, "drop", peers, socket)


def loss(process: str, percent: int, *, socket: Socket | None = None) -> Injection:
    """Drops that share of what arrives and of what leaves (this kernel has no netem)."""
    verdict = f"numgen random mod 100 < {percent} drop"
    return _filtered("loss", process, "both", verdict, (), socket)


def _filtered(
    kind: str, process: str, direction: str, verdict: str, peers: Sequence[str],
    socket: Socket | None,
) -> Injection:  # fmt: skip
    own = _own_rules(direction, verdict, peers)
    shared = _shared_rules(direction, verdict, peers, socket) if socket and socket.ports else ""
    apply = f"""
hold_netns {process}
if shares_netns {process.partition(":")[0]}; then
	cat >"$DIR/rules" <<'RULES'
{shared}
RULES
else
	cat >"$DIR/rules" <<'RULES'
{own}
RULES
fi
grep -q hook "$DIR/rules" || die "it shares the machine's network and its port is not known"
{{ echo "table inet {TABLE}$(echo "$FAULT" | tr - _) {{"; cat "$DIR/rules"; echo "}}"; }} >"$DIR/nft"
in_netns nft -f "$DIR/nft"
"""
    return Injection(kind, apply, UNDO_TABLE)


UNDO_TABLE = f"""
held_netns || return 0
name={TABLE}$(echo "$FAULT" | tr - _)
if in_netns nft list tables | grep -qx "table inet $name"; then
	in_netns nft delete table inet "$name"
fi
release_netns
"""


def _own_rules(direction: str, verdict: str, peers: Sequence[str]) -> str:
    hooks = []
    for hook, side, loop in (("input", "saddr", "iifname"), ("output", "daddr", "oifname")):
        if direction not in ("both", {"input": "in", "output": "out"}[hook]):
            continue
        matches = [f"{m} " for m in _of(side, peers)] if peers else [""]
        rules = [f'{loop} "lo" accept', *(f"{m}{verdict}" for m in matches)]
        hooks.append(_chain(hook, rules))
    return "\n".join(hooks)


def _shared_rules(
    direction: str, verdict: str, peers: Sequence[str], socket: Socket
) -> str:
    at = ", ".join(map(str, socket.ports))
    hooks = []
    for hook, mine, theirs, port in (
        ("input", "daddr", "saddr", "dport"),
        ("output", "saddr", "daddr", "sport"),
    ):
        if direction not in ("both", {"input": "in", "output": "out"}[hook]):
            continue
        here = next(iter(_of(mine, [socket.address])), "") if socket.address else ""
        from_them = _of(theirs, peers) if peers else [""]
        rules = [f"{here} {m} tcp {port} {{ {at} }} {verdict}".strip() for m in from_them]
        hooks.append(_chain(hook, rules))
    return "\n".join(hooks)


def _of(side: str, addresses: Iterable[str]) -> list[str]:
    """`ip saddr { ... }` and `ip6 saddr { ... }` for those there are."""
    parsed = [ip_address(a) for a in addresses]
    found = []
    for version, word in ((4, "ip"), (6, "ip6")):
        some = [str(a) for a in parsed if a.version == version]
        if some:
            found.append(f"{word} {side} {{ {', '.join(some)} }}")
    return found


def _chain(hook: str, rules: Sequence[str]) -> str:
    head = f"type filter hook {hook} priority {EARLY}; policy accept;"
    return "\n".join([f"chain {hook} {{", head, *rules, "}"])


def slow_link(process: str, kbit_per_s: int) -> Injection:
    """A token bucket on the interface of the pod: what it sends goes at that rate."""
    apply = f"""
if shares_netns {process.partition(":")[0]}; then
	die "it shares the machine's network: the whole machine would become slow"
fi
hold_netns {process}
device=$(in_netns ip -o link show up | awk -F': ' '$2 !~ /^lo/ {{ sub(/@.*/, "", $2); print $2; exit }}')
device=${{device:-lo}}
if in_netns tc qdisc show dev "$device" root | grep -qv noqueue; then
	die "$device has a queue of its own already; it would not come back as it was"
fi
echo "$device" >"$DIR/device"
in_netns tc qdisc add dev "$device" root handle {HANDLE} tbf rate {kbit_per_s}kbit burst 8kb latency 100ms
"""
    undo = f"""
held_netns || return 0
device=$(cat "$DIR/device" 2>/dev/null || :)
if [ -n "$device" ] && in_netns tc qdisc show dev "$device" root | grep -q "tbf {HANDLE}"; then
	in_netns tc qdisc del dev "$device" root
fi
release_netns
"""
    return Injection("slow-link", apply, undo)


def port_closed(ports: Sequence[int], *, udp: bool = False) -> Injection:
    """On the whole machine nobody reaches these ports any more, from it, through it, or in it.

    TCP is refused at once, as by a server that is not there; open connections break.
    """
    listed = ", ".join(map(str, ports))
    rules = [f"tcp dport {{ {listed} }} reject with tcp reset"]
    if udp:
        rules.append(f"udp dport {{ {listed} }} drop")
    table = _chain("prerouting", rules)
    apply = f"""
name={TABLE}$(echo "$FAULT" | tr - _)
{{ echo "table inet $name {{"; cat <<'RULES'
{table}
RULES
echo "}}"; }} >"$DIR/nft"
nft -f "$DIR/nft"
"""
    undo = f"""
name={TABLE}$(echo "$FAULT" | tr - _)
if nft list tables | grep -qx "table inet $name"; then nft delete table inet "$name"; fi
"""
    return Injection("port-closed", apply, undo)


def host_cut(address: str, direction: str) -> Injection:
    """The machine and all its pods lose the network that this address is on."""
    hooks = []
    if direction in ("both", "in"):
        hooks.append(_chain("prerouting", ['iifname "UPLINK" drop']))
    if direction in ("both", "out"):
        hooks.append(_chain("postrouting", ['oifname "UPLINK" drop']))
    rules = "\n".join(hooks)
    apply = f"""
name={TABLE}$(echo "$FAULT" | tr - _)
device=$(ip -o address show | awk -v a={address} '{{ split($4, at, "/"); if (at[1] == a) print $2 }}')
[ -n "$device" ] || die "no interface has the address {address}"
{{ echo "table inet $name {{"; sed "s/UPLINK/$device/" <<'RULES'
{rules}
RULES
echo "}}"; }} >"$DIR/nft"
nft -f "$DIR/nft"
"""
    undo = port_closed([1]).undo
    return Injection("network-cut", apply, undo)
