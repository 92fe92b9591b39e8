"""Who is a member of the cluster, by what is seen, and what each host is to become: pure.

A mark on a host says that our own work there came to its end; it decides nothing. What decides is
seen: etcd's list of members, the nodes in it, a kubelet that runs, a folder that holds a member.
So a mark that is gone is written again, and nothing that lives is taken for a rest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

MEMBER, ADOPT, JOIN, INIT = "member", "adopt", "join", "init"


@dataclass(frozen=True)
class Peer:
    """An entry of etcd's list; without a name it was added and has never come to vote."""

    identity: str
    name: str
    address: str


@dataclass(frozen=True)
class Etcd:
    """What one living member of etcd answers; it does so only with a quorum."""

    cluster: str
    peers: tuple[Peer, ...]
    nodes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Host:
    """What was seen of one host of the inventory."""

    name: str
    address: str
    plane: bool = True
    marked: bool = False  # our work there came to its end
    begun: str = ""  # our work there that did not: init or join
    data: str = ""  # the folder that holds a member of etcd
    unmounted: bool = False  # its system volume is there and can't be looked into
    kubelet: str = ""  # the state of its kubelet, where that has an identity
    node: str = ""  # the name under which the kubelet speaks
    ca: str = ""  # digest of the cluster's CA
    peer: str = ""  # the address that its etcd is to have
    etcd: Etcd | None = None

    @property
    def belongs(self) -> bool:
        """Whole, as far as the host itself can tell: not the half of a join that was cut off."""
        return not self.begun and (self.marked or bool(self.kubelet))

    @property
    def holds(self) -> bool:
        """A member of etcd, as far as its disks can be looked into."""
        return bool(self.data) or self.unmounted


@dataclass(frozen=True)
class Plan:
    """What each host is to become, or why nothing may be done."""

    become: Mapping[str, str] = field(default_factory=dict)
    seed: str = ""  # a living member that lets others in
    refusals: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()  # members whose own etcd does not answer, while others' do


@dataclass(frozen=True)
class View:
    """The cluster as its living members tell it, without the host that is to be made anew."""

    hosts: tuple[Host, ...]
    rejoin: str = ""

    @property
    def answering(self) -> list[Host]:
        return [host for host in self.hosts if host.etcd and host.name != self.rejoin]

    @property
    def etcd(self) -> Etcd | None:
        """None too while the only one that answers is a founding that was cut off."""
        if not self.answering:
            return None
        first, etcd = self.answering[0], self.answering[0].etcd
        alone = etcd is not None and len(etcd.peers) == 1
        if alone and first.begun == INIT and not any(host.marked for host in self.hosts):
            return None
        return etcd

    @property
    def peers(self) -> tuple[Peer, ...]:
        return self.etcd.peers if self.etcd else ()

    def lists(self, host: Host) -> bool:
        """Whether the host is a member that has started."""
        return any(p.name and host.address == p.address for p in self.peers)

    def short_without(self, name: str) -> str:
        """Why etcd could not do without this host; "" when it can."""
        left = [host.name for host in self.answering if host.name != name]
        needed = len(self.peers) // 2 + 1
        if self.peers and len(left) >= needed:
            return ""
        return (
            f"etcd has {len(self.peers)} members, without {name} there answer {len(left)}"
            f" ({', '.join(left) or 'none'}) and {needed} are needed"
        )


def decide(hosts: Sequence[Host], rejoin: str = "") -> Plan:
    """`rejoin` names the one host that may be taken out of the cluster and made anew."""
    names = [host.name for host in hosts]
    if rejoin and rejoin not in names:
        words = f"rejoin is {rejoin!r}; allowed: one host of the inventory ({', '.join(names)})"
        return Plan(refusals=(words,))
    view = View(tuple(hosts), rejoin)
    if strange := [*two_clusters(view), *wrong_names(view), *unknown_peers(view)]:
        return Plan(refusals=tuple(strange))
    fates = {host.name: fate(host, view) for host in hosts}
    refusals = [words for _, words in fates.values() if words]
    become = {name: what for name, (what, _) in fates.items()}
    first = next((host for host in hosts if host.plane), None)
    if first and not refusals and not view.etcd and not standing(hosts, become):
        refusals = no_founding(hosts)
        become[first.name] = INIT
    if refusals:
        return Plan(refusals=tuple(refusals))
    silent = [h.name for h in hosts if h.plane and h.marked and not h.etcd and view.etcd]
    return Plan(become, seed(view, become), silent=tuple(silent))


def standing(hosts: Collection[Host], become: Mapping[str, str]) -> bool:
    return any(host.plane and become[host.name] != JOIN for host in hosts)


def seed(view: View, become: Mapping[str, str]) -> str:
    """Who lets others in: one that answers; after a cut of power any control plane of ours."""
    alive = [host.name for host in view.answering if become[host.name] in (MEMBER, ADOPT)]
    planes = [h.name for h in view.hosts if h.plane and become[h.name] in (MEMBER, ADOPT, INIT)]
    return (alive + planes + [""])[0]


def two_clusters(view: View) -> list[str]:
    """Members of another cluster among ours: another CA, or an etcd of another identity."""
    told = []
    by_ca: dict[str, list[str]] = {}
    by_etcd: dict[str, list[str]] = {}
    for host in view.hosts:
        if host.name == view.rejoin:
            continue
        if host.belongs and host.ca:
            by_ca.setdefault(host.ca[:12], []).append(host.name)
        if host.etcd and not host.begun:
            by_etcd.setdefault(host.etcd.cluster, []).append(host.name)
    for what, found in (("a CA of Kubernetes", by_ca), ("a cluster of etcd", by_etcd)):
        if len(found) > 1:
            parts = "; ".join(f"{', '.join(names)}: {key}" for key, names in found.items())
            told.append(
                f"the hosts are members of {len(found)} clusters, by {what} ({parts}); is this the"
                " right inventory? A host that is meant to leave the other one: -e rejoin=HOST"
            )
    return told


def wrong_names(view: View) -> list[str]:
    """A host that is a member already, under another name or at another address."""
    told = []
    for host in view.hosts:
        if host.name == view.rejoin or not host.belongs:
            continue
        if host.node and host.node != host.name:
            told.append(
                f"{host.name} ({host.address}): this is the node {host.node!r} of a cluster;"
                f" call it {host.node} in hosts.yml, or make it anew: -e rejoin={host.name}"
            )
        elif host.plane and host.peer and host.peer != host.address:
            told.append(
                f"{host.name}: its etcd is at {host.peer} and the inventory has {host.address};"
                f" correct ansible_host in hosts.yml, or make it anew: -e rejoin={host.name}"
            )
    return told


def unknown_peers(view: View) -> list[str]:
    """Members of etcd that the inventory has otherwise or not at all."""
    planes = {host.address: host.name for host in view.hosts if host.plane}
    told_already = {host.address for host in view.hosts if host.belongs and host.node}
    told = []
    for peer in view.peers:
        if view.rejoin and view.rejoin in (peer.name, planes.get(peer.address)):
            continue
        what = f"etcd has the member {peer.name or '(never started)'} at {peer.address}"
        if peer.address not in planes:
            asked = view.answering[0].name
            told.append(
                f"{what} and no control plane of the inventory is there; correct hosts.yml, or, if"
                f" it is gone for ever, on {asked}: `etcdctl member remove {peer.identity}`"
            )
        elif peer.name not in ("", planes[peer.address]) and peer.address not in told_already:
            told.append(
                f"{what} and the inventory calls that host {planes[peer.address]}; call it"
                f" {peer.name} in hosts.yml, or make it anew: -e rejoin={planes[peer.address]}"
            )
    return told


def fate(host: Host, view: View) -> tuple[str, str]:
    """What the host is to become, and why that is refused; one of both is empty."""
    if host.name == view.rejoin:
        return rejoining(host, view)
    return fate_of_plane(host, view) if host.plane else fate_of_worker(host, view)


def rejoining(host: Host, view: View) -> tuple[str, str]:
    if not view.etcd:
        return "", (
            f"{host.name}: rejoin was asked for and no etcd of another control plane answers, so"
            " nobody could let it in again; bring the others up first"
        )
    if host.plane and (short := view.short_without(host.name)):
        return "", (
            f"{host.name}: rejoin was asked for, but {short}: its loss would stop the cluster;"
            " bring the others up first"
        )
    return JOIN, ""


def fate_of_plane(host: Host, view: View) -> tuple[str, str]:
    if host.marked:
        return marked_plane(host, view)
    return unmarked_plane(host, view) if view.etcd else silent_plane(host)


def marked_plane(host: Host, view: View) -> tuple[str, str]:
    if view.etcd and not view.lists(host):
        return "", anew(host, view, "is marked as a member, and etcd's list does not have it")
    if not host.holds:
        return "", anew(host, view, "is marked as a member, and no folder of it holds its etcd")
    return MEMBER, ""


def unmarked_plane(host: Host, view: View) -> tuple[str, str]:
    if view.lists(host):
        if host.holds and host.kubelet:
            return ADOPT, ""
        words = "is a member in etcd's list, and the host has lost its own part"
        return "", anew(host, view, words)
    if host.data and not host.begun:
        words = f"holds a member of etcd in {host.data} that etcd's list does not have"
        return "", anew(host, view, words)
    return JOIN, ""


def silent_plane(host: Host) -> tuple[str, str]:
    """While no etcd of the site answers: what is there may be all that is left of it."""
    if host.begun or not host.holds:
        return JOIN, ""
    if host.kubelet and host.peer == host.address:
        return ADOPT, ""
    if not host.data:
        return JOIN, ""  # what a volume that could not be looked into holds, its join refuses
    return "", (
        f"{host.name} ({host.address}): {host.data} holds a member of etcd, no etcd of the site"
        " answers, and the host has no whole identity; bring etcd up, or restore /etc/kubernetes"
        " there. If nothing of that cluster is needed: playbooks/reset.yml"
    )


def fate_of_worker(host: Host, view: View) -> tuple[str, str]:
    known = view.etcd is not None and host.name in view.etcd.nodes
    if host.marked:
        if view.etcd and not known:
            words = "is marked as a member, and the API has no node of its name"
            return ("", f"{anew(host, view, words)}; a restart of its kubelet may bring the node back")
        return MEMBER, ""
    if host.kubelet and (known or (not view.etcd and not host.begun)):
        return ADOPT, ""
    if known:
        words = "is a node in the API, and this machine has no kubelet of that node"
        return "", anew(host, view, f"{words}: another machine may be it")
    return JOIN, ""


def anew(host: Host, view: View, seen: str) -> str:
    """A refusal whose way out takes the host out of the cluster."""
    short = view.short_without(host.name) if host.plane else ""
    after = f", once there is a quorum without it ({short})" if short else ""
    return (
        f"{host.name} ({host.address}) {seen}. Is it the right machine, with all its disks? If its"
        f" part of the cluster is lost or to be given up: -e rejoin={host.name}{after}"
    )


def no_founding(hosts: Sequence[Host]) -> list[str]:
    """Who stands in the way of a new cluster: members of an older one."""
    old = [host.name for host in hosts if host.belongs]
    if not old:
        return []
    return [
        f"no control plane holds a cluster and {', '.join(old)} belong to one: another would be"
        " founded beside it; bring its control planes or their disks back, or give it up with"
        " playbooks/reset.yml"
    ]
