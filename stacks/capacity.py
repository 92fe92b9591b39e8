"""`python -m stacks.capacity <site>`: what is planned for a site, what its stacks ask for, and what its servers have.

The plan is that of the contract's tables (stacks/sizing.yaml). Requests are those of the rendered objects, and disks
those of the inventory, so the bundle has to be built; no cluster is asked. With the inputs of planning as options it
also says which settings are too small for them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from common.errors import Refusal
from common.places import Places
from components.cluster.settings import Settings as Cluster
from components.kit import machines
from components.kit import manifest as bundle
from components.kit.mistakes import SiteError
from components.kit.settings import Mode, SiteFacts
from components.nodepool.settings import Pool
from components.nodepool.settings import Settings as Pools
from components.spark.settings import ROOM as SPARK
from components.spark.settings import Settings as Spark
from components.storage.settings import SYSTEM, Volume, volumes
from components.storage.settings import Settings as Storage
from stacks.asked import Workload, placed, workloads
from stacks.composition import compose
from stacks.inputs import Inputs, effects
from stacks.rendering import rendered
from stacks.sizing import GB, GIB, MIB, Plan, Share, Sizing

LITTLE = 0.8  # of the plan: below it a part could have more
HEADS = {"cpu": "cores", "ram_gb": "memory GB", "hdd_gb": "HDD GB", "ssd_gb": "SSD GB", "gpu": "cards"}


@dataclass(frozen=True)
class Server:
    """One host: what its pool promises, what it keeps for itself, what is set aside on its disks."""

    name: str
    has: Share
    own: Share
    disks: Share

    def room(self) -> Share:
        """For pods."""
        return Share(cpu=self.has.cpu - self.own.cpu, ram_gb=self.has.ram_gb - self.own.ram_gb)


@dataclass(frozen=True)
class Line:
    """A part: planned, asked for by the rooms that stand for it (none: its share is kept free)."""

    part: str
    rooms: tuple[str, ...]
    planned: Share
    asked: Share

    def verdict(self) -> str:
        """In words."""
        if not self.rooms:
            return "kept free: it is not here"
        over = [HEADS[key] for key in HEADS if getattr(self.asked, key) > getattr(self.planned, key) * 1.001]
        if over:
            return f"over: {', '.join(over)}"
        little = [
            HEADS[key] for key in ("cpu", "ram_gb") if getattr(self.asked, key) < LITTLE * getattr(self.planned, key)
        ]
        return f"under: {', '.join(little)}" if little else "fits"


@dataclass(frozen=True)
class Capacity:
    """A site beside its plan."""

    plan: Plan
    servers: tuple[Server, ...]
    lines: tuple[Line, ...]
    placed: Mapping[str, Share]
    lost: tuple[str, ...]

    def has(self) -> Share:
        """All servers."""
        return Share.total(server.has for server in self.servers)

    def asked(self) -> Share:
        """All parts that are here."""
        return Share.total(line.asked for line in self.lines)

    def kept(self) -> Share:
        """For the parts that are not."""
        return Share.total(line.planned for line in self.lines if not line.rooms)

    def used(self, key: str) -> float:
        """Percent of the servers that are asked for or kept."""
        asked, kept, has = (float(getattr(each, key)) for each in (self.asked(), self.kept(), self.has()))
        return 100 * (asked + kept) / has

    def over(self) -> list[str]:
        """Everything that does not fit, in words."""
        found = [f"{line.part} is {line.verdict()}" for line in self.lines if line.verdict().startswith("over")]
        found += [
            f"{server.name} has {getattr(server.disks, key):.0f} GB of volumes and its own on {HEADS[key].split()[0]} "
            f"of {getattr(server.has, key):.0f} GB"
            for server in self.servers
            for key in ("hdd_gb", "ssd_gb")
            if getattr(server.disks, key) > getattr(server.has, key)
        ]
        return found + [f"{pod} finds no server" for pod in self.lost]


def servers(site: SiteFacts, sizing: Sizing, there: Iterable[Volume]) -> Iterator[Server]:
    """Of the node pools, with the disks of the table: settings do not say how large a disk is."""
    pools, inventory = site.rooms.get("nodepool"), site.inventory
    if not isinstance(pools, Pools) or not pools.pools or inventory is None:
        raise SiteError(
            f"site {site.site}: neither apadana:nodepool.pools nor inventories/{site.site}/hosts.yml may be missing; "
            "say there which machines the site has"
        )
    system = machines.variables(inventory, "storage_volumes")
    for pool in pools.pools.values():
        for node in pool.nodes:
            leads = any(volume["class"] == SYSTEM for volume in system.get(node, ()))
            own = sizing.own.control_plane if leads else sizing.own.others
            mine = [Share(**{f"{v.class_}_gb": v.size_gib * GIB / GB}) for v in there if v.node == node]
            yield Server(node, _of(pool, sizing), own, Share.total([own, *mine]))


def _of(pool: Pool, sizing: Sizing) -> Share:
    disks = {key: getattr(sizing.server, key) for key in ("hdd_gb", "ssd_gb")}
    return Share(cpu=pool.cpu_cores, ram_gb=pool.memory_gib * GIB / GB, gpu=pool.gpus, **disks)


def lines(site: SiteFacts, plan: Plan, asked: Iterable[Workload], own: Share, cards: float) -> Iterator[Line]:
    """Each part of the plan."""
    by_room: dict[str, Share] = {}
    for workload in asked:
        by_room[workload.room] = by_room.get(workload.room, Share()) + workload.all()
    here: dict[str, list[str]] = {}
    for name, settings in sorted(site.rooms.items()):
        if settings.mode is Mode.MANAGED:
            here.setdefault(plan.part_of(name), []).append(name)
    for name, part in plan.sizing.parts.items():
        mine = tuple(here.get(name, ()))
        share = Share.total(by_room.get(room, Share()) for room in mine)
        if part.rest:
            share += own
        if part.work and mine:
            share += _work(site, cards)
        if SPARK in mine:
            share += _jobs(site)
        yield Line(name, mine, plan.share(name), share)


def _work(site: SiteFacts, cards: float) -> Share:
    """What users may ask for, all cards among it; Spark's jobs have a line of their own."""
    cluster, jobs = site.rooms.get("cluster"), _jobs(site)
    if not isinstance(cluster, Cluster):
        return Share()
    cores, memory = cluster.work.cpu_millicores / 1000, cluster.work.memory_mib * MIB / GB
    return Share(cpu=max(0, cores - jobs.cpu), ram_gb=max(0, memory - jobs.ram_gb), gpu=cards)


def _jobs(site: SiteFacts) -> Share:
    """As many of Spark's jobs as go at once, each of the usual size."""
    spark = site.rooms.get(SPARK)
    if not isinstance(spark, Spark) or spark.mode is not Mode.MANAGED:
        return Share()
    each, pods = spark.job_resources, spark.at_once * (spark.executors + 1)
    return Share(cpu=each.cpu_millicores / 1000, ram_gb=each.memory_mib * MIB / GB) * pods


def measured(site: SiteFacts, plan: Plan, objects: Mapping[str, list[dict[str, Any]]]) -> Capacity:
    """A site with what its stacks would make."""
    storage, inventory = site.rooms.get("storage"), site.inventory
    there = volumes(inventory, storage.classes) if isinstance(storage, Storage) and inventory else []
    hosts = tuple(servers(site, plan.sizing, there))
    asked = list(workloads(objects))
    own, cards = Share.total(host.own for host in hosts), sum(host.has.gpu for host in hosts)
    taints = machines.taints(inventory or {})
    on, lost = placed(asked, {host.name: host.room() for host in hosts}, taints, there)
    return Capacity(plan, hosts, tuple(lines(site, plan, asked, own, cards)), on, tuple(lost))


def told(found: Capacity) -> Iterator[str]:
    """Markdown."""
    yield f"| part | its rooms here | {' | '.join(HEADS.values())} | |"
    yield "|---|---|---|---|---|---|---|---|"
    for line in found.lines:
        rooms = ", ".join(line.rooms) or "-"
        yield f"| {line.part} | {rooms} | {_cells(line.asked, line.planned)} | {line.verdict()} |"
    yield f"| together | | {_cells(found.asked(), found.plan.whole())} | asked for, of what is planned |"
    yield f"| kept free | | {_cells(found.kept(), found.plan.whole())} | for parts that are not here |"
    yield ""
    yield f"| server | {' | '.join(HEADS.values())} |"
    yield "|---|---|---|---|---|---|"
    for server in found.servers:
        on = found.placed[server.name] + Share(cpu=server.own.cpu, ram_gb=server.own.ram_gb)
        disks = {key: getattr(server.disks, key) for key in ("hdd_gb", "ssd_gb")}
        yield f"| {server.name} | {_cells(on.model_copy(update=disks | {'gpu': server.has.gpu}), server.has)} |"
    yield f"| all {len(found.servers)} | {_cells(found.asked(), found.has())} |"
    yield ""
    yield from _sums(found)


def _cells(part: Share, whole: Share) -> str:
    return " | ".join(f"{getattr(part, key):.1f} of {getattr(whole, key):.0f}" for key in HEADS)


def _sums(found: Capacity) -> Iterator[str]:
    plan, scale, whole, there = found.plan, found.plan.scale, found.plan.whole(), found.plan.servers()
    yield (
        f"- Planned in use: {100 * whole.cpu / there.cpu:.0f} % of cores, {100 * whole.ram_gb / there.ram_gb:.0f} % of "
        f"memory; about {scale.use_percent} % is expected. Asked for and kept free: {found.used('cpu'):.0f} % and "
        f"{found.used('ram_gb'):.0f} %."
    )
    yield (
        "- A server's line has its own share and the rooms' pods, placed in one way that fits; the scheduler makes its "
        "own. What users bring and what is kept free is not among it. What a part that is under leaves is for the "
        "client's applications."
    )
    yield f"- Servers: {len(found.servers)} of {scale.servers} planned. Cards: {found.has().gpu:.0f} of {scale.gpu}."
    full = max(plan.sizing.sites.values(), key=lambda each: each.servers)
    percent, least = 100 * len(found.servers) / full.servers, plan.sizing.least_of_production_percent
    if full is not scale:
        word = "enough" if percent >= least else "too few"
        yield f"- That is {percent:.0f} % of Production's {full.servers} servers; at least {least} % is agreed: {word}."
    yield from (f"- {each}." for each in found.over() or ["Nothing is over"])


def asked_for(given: Inputs, site: SiteFacts) -> Iterator[str]:
    """Markdown: what the inputs need."""
    yield "| setting | needed | there | | for |"
    yield "|---|---|---|---|---|"
    for each in effects(given, site):
        word = "enough" if each.enough else "too little"
        yield f"| {each.key} | {each.needs:.1f} {each.unit} | {each.there:g} | {word} | {each.why} |"


def page(site: str, plan: str, given: Inputs) -> str:
    """All of it, for a site."""
    places = Places.of(site)
    loaded = compose(site)
    facts = loaded.facts(bundle.read(places.bundle).images)
    found = measured(facts, Plan.of(plan, Sizing.read()), rendered(facts, places.bundle / "bin" / "helm"))
    text = [f"# {site}, by the plan {plan}", "", *told(found)]
    if given.model_fields_set:
        text += ["", "# What the inputs ask for", "", *asked_for(given, facts)]
    return "\n".join(text) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Print the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("site")
    parser.add_argument("--plan", help="stage or production; default: the site's name")
    for name, field in Inputs.model_fields.items():
        words = f"{field.description}; default {field.default:g}"
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(field.default), help=words.replace("%", "%%"))
    arguments = vars(parser.parse_args(argv))
    site, plan = arguments.pop("site"), arguments.pop("plan")
    try:
        given = Inputs.checked({key: value for key, value in arguments.items() if value is not None})
        sys.stdout.write(page(site, plan or site, given))
    except (Refusal, FileNotFoundError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
