"""Faults of the network: cut in one or both directions, lossy, slow, a port that refuses.

Rules stand in an nft table of their own, named by the fault, in the network namespace of the
target. Where that is the machine's own (a process or a pod on the host's network), only packets
of the member's address and port are touched, so that the machine itself stays in reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from validate.suites.chaos.envelope import Injection

TABLE = "apadana_fault_"
HANDLE = "fa17:"  # of the tbf qdisc: how the undo knows its own
EARLY = -310  # before connection tracking, before any rule of the platform


@dataclass(frozen=True)
class Socket:
    """Where a member talks, for a namespace that it shares with others."""

    address: str
    ports: tuple[int, ...]
    others: tuple[tuple[str, int], ...] = ()  # where it connects to: members of its own component


def cut(process: str, direction: str, *, peers: Sequence[str] = (), socket: Socket | None = None) -> Injection:
    """`direction`: both | in | out, seen from the member. `peers`: only these addresses.

    `socket`: it shares its namespace, and only its own conversations are cut.
    """
    return _filtered("network-cut", process, direction, "drop", peers, socket)


def loss(process: str, percent: int, *, socket: Socket | None = None) -> Injection:
    """Drops that share of what arrives and of what leaves (this kernel has no netem)."""
    verdict = f"numgen random mod 100 < {percent} drop"
    return _filtered("loss", process, "both", verdict, (), socket)


def _filtered(
    kind: str, process: str, direction: str, verdict: str, peers: Sequence[str], socket: Socket | None
) -> Injection:
    if socket is None:
        rules, guard = _own_rules(direction, verdict, peers), _NOT_SHARED.format(process=process)
    else:
        rules, guard = _shared_rules(direction, verdict, peers, socket), ""
    apply = f"""
{guard}hold_netns {process}
{_table(rules)}
in_netns nft -f "$DIR/nft"
"""
    return Injection(kind, apply, UNDO_TABLE)


_NOT_SHARED = """
if shares_netns {process}; then die "it shares the network of its machine"; fi
"""
NAME = f'name={TABLE}$(echo "$FAULT" | tr - _)'


def _table(rules: str) -> str:
    """Writes $DIR/nft, the table of this fault."""
    return f"""
{NAME}
cat >"$DIR/rules" <<'RULES'
{rules}
RULES
{{
	echo "table inet $name {{"
	cat "$DIR/rules"
	echo "}}"
}} >"$DIR/nft"
"""


UNDO_TABLE = f"""
held_netns || return 0
{NAME}
# By itself, not in a pipe: a list that fails must fail the undo, not look like an empty one.
tables=$(in_netns nft list tables)
if echo "$tables" | grep -qx "table inet $name"; then
	in_netns nft delete table inet "$name"
fi
release_netns
"""
UNDO_HOST_TABLE = f"""
{NAME}
tables=$(nft list tables)
if echo "$tables" | grep -qx "table inet $name"; then nft delete table inet "$name"; fi
"""


def _own_rules(direction: str, verdict: str, peers: Sequence[str]) -> str:
    chains = []
    for way, hook, side, loop in _WAYS:
        if direction not in ("both", way):
            continue
        matches = [f"{m} " for m in _of(side, peers)] if peers else [""]
        rules = [f'{loop} "lo" accept', *(f"{m}{verdict}" for m in matches)]
        chains.append(_chain(hook, rules))
    return "\n".join(chains)


_WAYS = (("in", "input", "saddr", "iifname"), ("out", "output", "daddr", "oifname"))


def _shared_rules(direction: str, verdict: str, peers: Sequence[str], socket: Socket) -> str:
    """Requests to the member and their answers, its own requests to its peers and theirs."""
    listed = ", ".join(map(str, socket.ports))
    chains = []
    for way, hook, far, _ in _WAYS:
        if direction not in ("both", way):
            continue
        near, mine, theirs = ("daddr", "dport", "sport") if way == "in" else ("saddr", "sport", "dport")
        here = _of(near, [socket.address])[0]
        there = _of(far, peers) if peers else [""]
        rules = [" ".join(f"{here} {m} tcp {mine} {{ {listed} }} {verdict}".split()) for m in there]
        for address, port in socket.others:
            if not peers or address in peers:
                other = _of(far, [address])[0]
                rules.append(f"{here} {other} tcp {theirs} {port} {verdict}")
        chains.append(_chain(hook, rules))
    return "\n".join(chains)


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
    shape = f"tbf rate {kbit_per_s}kbit burst 8kb latency 100ms"
    apply = f"""
if shares_netns {process}; then
	die "it shares the machine's network: the whole machine would become slow"
fi
hold_netns {process}
first='$2 !~ /^lo/ {{ sub(/@.*/, "", $2); print $2; exit }}'
device=$(in_netns ip -o link show up | awk -F': ' "$first")
device=${{device:-lo}}
if in_netns tc qdisc show dev "$device" root | grep -qv noqueue; then
	die "$device has a queue of its own already; it would not come back as it was"
fi
echo "$device" >"$DIR/device"
in_netns tc qdisc add dev "$device" root handle {HANDLE} {shape}
"""
    undo = f"""
held_netns || return 0
device=$(cat "$DIR/device" 2>/dev/null || :)
if [ -n "$device" ]; then
	queues=$(in_netns tc qdisc show dev "$device" root)
	if echo "$queues" | grep -q "tbf {HANDLE}"; then in_netns tc qdisc del dev "$device" root; fi
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
    apply = f"""
{_table(_chain("prerouting", rules))}
nft -f "$DIR/nft"
"""
    return Injection("port-closed", apply, UNDO_HOST_TABLE)


def host_cut(address: str, direction: str) -> Injection:
    """The machine and all its pods lose the network that this address is on."""
    chains = []
    if direction in ("both", "in"):
        chains.append(_chain("prerouting", ['iifname "UPLINK" drop']))
    if direction in ("both", "out"):
        chains.append(_chain("postrouting", ['oifname "UPLINK" drop']))
    apply = f"""
mine='{{ split($4, at, "/"); if (at[1] == a) {{ print $2; exit }} }}'
device=$(ip -o address show | awk -v a={address} "$mine")
[ -n "$device" ] || die "no interface has the address {address}"
{_table(chr(10).join(chains))}
sed -i "s/UPLINK/$device/" "$DIR/nft"
nft -f "$DIR/nft"
"""
    return Injection("network-cut", apply, UNDO_HOST_TABLE)
