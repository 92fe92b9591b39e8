"""From a fault and the members as they are now to what is hit, and with which injection. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from components.kit import contract
from validate.core.errors import NotValidError
from validate.suites.chaos import spec
from validate.suites.chaos.envelope import Injection
from validate.suites.chaos.kinds import disk, network, process, service
from validate.suites.chaos.members import RunningMember
from validate.suites.chaos.preflight import Aimed, tolerance


@dataclass(frozen=True)
class Shot:
    """One injection on one machine; host "" is the one that the validator runs on."""

    host: str
    injection: Injection
    member: str = ""


@dataclass(frozen=True)
class Aim:
    members: tuple[RunningMember, ...] = ()
    peers: tuple[RunningMember, ...] = ()  # the other end of a cut; observers stand there
    hosts: tuple[str, ...] = ()
    #: The peers are frozen, because packets between the two can't be told from others.
    frozen: bool = False

    def aimed(self, component: str, on: str = "") -> Aimed:
        frozen = tuple(p.name for p in self.peers) if self.frozen else ()
        return Aimed(component, tuple(m.name for m in self.members), self.hosts, on, frozen)

    @property
    def touched(self) -> tuple[str, ...]:
        """Hosts on which something happens: clients and observers stay away from them."""
        hit = [*self.members, *(self.peers if self.frozen else ())]
        return tuple(dict.fromkeys([*(m.host for m in hit), *self.hosts]))


def at(
    fault: spec.Fault,
    component: contract.Component | None,
    found: Sequence[RunningMember],
    leader: str | None,
    hosts: Sequence[str],
    *,
    host: str = "",
) -> Aim:
    """Always the same choice for the same platform, so that a run can be repeated.

    `host`: the one that was asked for, or on which all leaders were gathered; "" leaves the choice.
    """
    if fault.target in ("host", "aligned") and host:
        return Aim(hosts=(host,))
    able = [m for m in found if fault.role in m.role]
    led = [m for m in able if m.name == leader]
    if fault.target == "all hosts":
        return Aim(hosts=tuple(hosts))
    if fault.target == "host":
        return Aim(hosts=(_host(able, led, hosts),))
    if fault.target == "clients" or component is None:
        return Aim(peers=tuple(able))
    if not able:
        role = f" with the role {fault.role}" if fault.role else ""
        raise NotValidError(f"{component.name} has no member{role} that runs")
    if fault.target == "leader" and not led:
        raise NotValidError(f"{component.name} names no leader ({leader or 'its probe is mute'})")
    chosen = _chosen(fault.target, component, able, led)
    rest = tuple(m for m in able if m not in chosen)
    return Aim(chosen, _other_end(component, chosen[0], rest) if fault.target == "pair" else rest)


def again(aim: Aim, found: Sequence[RunningMember]) -> Aim:
    """The same members as they are now: one may have been started again since it was chosen."""
    now = {m.name: m for m in found}
    members, peers = (tuple(now.get(m.name, m) for m in ms) for ms in (aim.members, aim.peers))
    return replace(aim, members=members, peers=peers)


def _chosen(
    target: spec.Target, component: contract.Component, able: Sequence[RunningMember], led: Sequence[RunningMember]
) -> tuple[RunningMember, ...]:
    others = [m for m in able if m not in led]
    if target in ("leader", "pair"):
        return tuple((led or able)[:1])
    if target == "one member":
        return tuple((others or led)[:1])
    if target == "quorum":
        # One more than may be gone; the leader last, so that it is left alone and must notice.
        return tuple([*others, *led][: tolerance(component, len(able)) + 1])
    return tuple(able)


def _other_end(
    component: contract.Component, first: RunningMember, rest: Sequence[RunningMember]
) -> tuple[RunningMember, ...]:
    other = next((m for m in rest if m.host != first.host), None)
    if other is None:
        raise NotValidError(f"{component.name} has no two members on different hosts")
    return (other,)


def _host(able: Sequence[RunningMember], led: Sequence[RunningMember], hosts: Sequence[str]) -> str:
    chosen = next((m.host for m in [*led, *able]), None) or next(iter(hosts), None)
    if chosen is None:
        raise NotValidError("no host is known")
    return chosen


@dataclass(frozen=True)
class Outside:
    """What kinds need that no script on a target can do: commands run here."""

    power_off: Mapping[str, Sequence[str]]  # host -> command
    power_on: Mapping[str, Sequence[str]]
    take_pod: Mapping[str, Sequence[str]]  # member -> command, where the fault takes pods away
    addresses: Mapping[str, str]  # host -> its own address


def shots(fault: spec.Fault, aim: Aim, outside: Outside) -> list[Shot]:
    """What is injected where."""
    do = fault.do
    if isinstance(do, spec.BadInput):
        return []  # a client does it; nothing stays anywhere
    if isinstance(do, spec.DependencyCut):
        return _dependency(aim)
    if aim.hosts:
        return [_on_host(fault, host, outside) for host in aim.hosts]
    return [Shot(*_on(fault, member, aim, outside)) for member in aim.members]


def _on_host(fault: spec.Fault, host: str, outside: Outside) -> Shot:
    match fault.do:
        case spec.HostPoweroff():
            return _poweroff(host, outside)
        case spec.PortClosed(ports=ports, udp=udp):
            return Shot(host, network.port_closed(ports, udp=udp))
        case spec.ServiceStop(unit=unit):
            return Shot(host, service.service_stop(unit))
        case spec.NetworkCut(direction=direction):
            return _host_cut(host, direction, outside)
    raise NotValidError(f"{fault.kind} has no injection for a host")


def _on(fault: spec.Fault, member: RunningMember, aim: Aim, outside: Outside) -> tuple[str, Injection, str]:
    do, host = fault.do, member.host
    one = member.processes[0]
    if command := outside.take_pod.get(member.name):
        return "", service.command(fault.kind, list(command), []), member.name
    match do:
        case spec.MemberKill() | spec.PodKill():
            made = process.member_kill(member.processes)
        case spec.Freeze():
            made = process.freeze(member.processes)
        case spec.NetworkCut():
            far = [p.address for p in aim.peers] if fault.target == "pair" else []
            made = network.cut(one, do.direction, peers=far, socket=_socket(member, aim))
        case spec.PacketLoss():
            made = network.loss(one, do.percent, socket=_socket(member, aim))
        case spec.SlowLink():
            made = network.slow_link(one, do.kbit_per_s)
        case spec.DiskFull():
            if not member.data:
                raise NotValidError(f"where {member.name} keeps its data is not known")
            made = disk.disk_full(member.data, do.leave_kib * 1024)
        case spec.ClockWrong():
            made = process.clock_wrong(one, do.offset_s)
        case _:
            raise NotValidError(f"{fault.kind} has no injection for {member.name}, as it runs here")
    return host, made, member.name


def _socket(member: RunningMember, aim: Aim) -> network.Socket | None:
    if not member.shared:
        return None
    others = tuple((p.address, port) for p in aim.peers for port in p.ports)
    if not member.ports or not member.address:
        raise NotValidError(f"{member.name} shares its network, and its port is not known")
    return network.Socket(member.address, member.ports, others)


def _poweroff(host: str, outside: Outside) -> Shot:
    off, on = outside.power_off.get(host), outside.power_on.get(host)
    if not off or not on:
        raise NotValidError(
            f"nothing here can switch {host} off and on: a lab's hosts can be (podman), a site's "
            "when power.yaml in its state folder says how (docs/validation-chaos.md)"
        )
    return Shot("", service.command("host-poweroff", list(off), list(on)))


def _host_cut(host: str, direction: str, outside: Outside) -> Shot:
    address = outside.addresses.get(host)
    if not address:
        raise NotValidError(f"the address of {host} is not known")
    return Shot(host, network.host_cut(address, direction))


def _dependency(aim: Aim) -> list[Shot]:
    """Own namespaces: packets between the two are dropped. Shared ones can't be told apart, so
    there the dependency is frozen, which breaks the pair as well (and more)."""
    if aim.frozen:
        return [Shot(p.host, process.freeze(p.processes), p.name) for p in aim.peers]
    far = [p.address for p in aim.peers]
    return [Shot(m.host, network.cut(m.processes[0], "both", peers=far), m.name) for m in aim.members]
