"""A member with all that a fault needs to know of it: its processes, its network, its port."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from components.kit import contract
from validate.core.errors import ClusterError, NotValidError
from validate.ground import Ground, Member

LOOK = """
one() {
	line=$(cat "/proc/$1/stat" 2>/dev/null) || return 0
	pid=$1
	set -- ${line##*) }
	echo "$pid ${20} $(readlink "/proc/$pid/ns/net")"
}
main() {
	echo "own 0 $(readlink /proc/self/ns/net)"
	echo "init 0 $(readlink /proc/1/ns/net)"
	for pid in "$@"; do one "$pid"; done
}
main "$@"
"""


@dataclass(frozen=True)
class RunningMember:
    """`processes` are "pid:start"; `shared`: others live in its network namespace too."""

    member: Member
    role: str
    processes: tuple[str, ...]
    namespace: str
    shared: bool
    ports: tuple[int, ...]
    beside: tuple[str, ...] = field(default=())  # members of other components on its host

    @property
    def name(self) -> str:
        return self.member.name

    @property
    def host(self) -> str:
        return self.member.host

    @property
    def data(self) -> str:
        """Where it keeps its data, as its host sees it; first of several drives; "": unknown."""
        paths = self.member.paths or {}
        return paths.get("data") or next((paths[name] for name in sorted(paths)), "")

    @property
    def address(self) -> str:
        return split(self.member.address)[0]

    @property
    def pid(self) -> int:
        return int(self.processes[0].partition(":")[0])


def split(address: str) -> tuple[str, int]:
    """("10.0.0.1", 6379) of "10.0.0.1:6379"; the port is 0 where none is given."""
    host, colon, port = address.rpartition(":")
    return (host, int(port)) if colon and port.isdigit() else (address, 0)


def locate(ground: Ground, *components: contract.Component) -> list[RunningMember]:
    """Their members that have processes, as they are now; NotValidError when there is none."""
    wanted = {c.name: c for c in components}
    everyone = ground.members()
    facts = _facts(ground, everyone)
    found = []
    for member in everyone:
        component, mine = wanted.get(member.component), facts.get(member.host, {})
        processes = tuple(f"{p}:{mine[p][0]}" for p in member.pids if p in mine)
        if component is None or not processes:
            continue
        namespace = mine.get(member.pids[0], ("", ""))[1]
        others = [m for m in everyone if m.host == member.host and m.component != member.component]
        theirs = {mine[p][1] for m in others for p in m.pids if p in mine}
        machines = {mine[0][1], mine[-1][1]}
        found.append(
            RunningMember(
                member,
                member.role,
                processes,
                namespace,
                namespace in theirs | machines,
                ports_of(component, member),
                tuple(m.name for m in others),
            )
        )
    if not found:
        names = ", ".join(wanted) or "the platform"
        raise NotValidError(f"{names} has no member with a process: nothing can be broken")
    return found


def _facts(ground: Ground, members: Iterable[Member]) -> dict[str, dict[int, tuple[str, str]]]:
    """Per host and process: (start, network namespace); 0 is the shell's own, -1 that of init."""
    pids: dict[str, list[int]] = {}
    for member in members:
        pids.setdefault(member.host, []).extend(member.pids)
    found: dict[str, dict[int, tuple[str, str]]] = {}
    for host, numbers in pids.items():
        try:
            said = ground.machine(host).run(LOOK, *map(str, numbers))
        except ClusterError:
            continue  # a host that is down has no processes to speak of
        for line in said.splitlines():
            name, start, *namespace = line.split()
            number = {"own": 0, "init": -1}.get(name) if not name.isdigit() else int(name)
            if number is not None:
                found.setdefault(host, {})[number] = (start, namespace[0] if namespace else "")
    return found


def ports_of(component: contract.Component, member: Member, protocol: str = "") -> tuple[int, ...]:
    """Where clients reach this member, the contract's first endpoint first."""
    address, own = split(member.address)
    mine: list[int] = [own] if own and not protocol else []
    others: list[int] = []
    for endpoint in component.endpoints_in:
        if protocol not in ("", endpoint.protocol):
            continue
        for item in endpoint.address.split(","):
            host, port = split(item)
            named = host == address or host.split(".", 1)[0] == member.name
            (mine if named else others).append(port)
    return tuple(dict.fromkeys(mine or others))
