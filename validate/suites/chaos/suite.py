"""The suite `chaos`: every fault of every room, each pair of the contract, as steps of a plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from components.kit import contract
from components.kit.probing import Check, Verdict
from validate.core import causes
from validate.ground import Ground
from validate.ground.site import REPOSITORY
from validate.suites import plan
from validate.suites.chaos import experiment, report, spec
from validate.suites.chaos.context import CLUSTER
from validate.suites.plan import Step, StepOutcome, Tools

SUITE = report.SUITE
RANKS = {"core": plan.CORE, "wide": plan.WIDE, "deep": plan.DEEP}
#: The platform below the components: its faults lie in the cluster's room, wherever the rooms are.
CLUSTER_ROOM = REPOSITORY / "components" / CLUSTER
LIMITS = (
    "Killing a process or a lab's host keeps the kernel and its page cache: these faults say nothing of a power cut.",
    "Clocks: only a process that was started under libfaketime can be given a wrong time, and the "
    "images of these rooms aren't. A clock that is set wrong is tried on local servers (suite "
    "`durability`), and certificates that end are tried apart (docs/certificates.md).",
    "Loss is made by dropping packets at random, a slow link by a token bucket; delay and "
    "reordering of packets were not tried (the lab's kernel lacks netem).",
    "One fault at a time: a second one during recovery was not tried.",
)


def faults_of(ground: Ground, chosen: Sequence[contract.Component]) -> dict[str, list[spec.Fault]]:
    """Per component what is tried on it; FaultsError lists every mistake of every file.

    The key `cluster` holds the faults of the platform below, which a ground without nodes lacks.
    """
    rooms = ground.site.rooms
    files = [rooms / c.name / spec.FILE for c in chosen]
    clustered = (ground.site.state / "kubeconfig").is_file()
    below = (CLUSTER_ROOM if clustered else rooms / CLUSTER) / spec.FILE
    names = {c.name for c in ground.site.platform.components}
    if {c.name for c in chosen} == names:
        files.append(below)
    found = spec.read(file for file in files if file.is_file())
    pairs = [(a, b) for a, b in spec.pairs(ground.site.platform) if a in {c.name for c in chosen}]
    for component, on in pairs:
        mine = found.setdefault(component, [])
        if not any(isinstance(f.do, spec.DependencyCut) and f.do.on == on for f in mine):
            mine.append(spec.of_pair(component, on))
    return found


def steps(ground: Ground, chosen: Sequence[contract.Component]) -> list[Step]:
    """One step for each fault of each component, and one that says what is not covered."""
    found = faults_of(ground, chosen)
    made = [_coverage(ground, chosen, found)]
    for name, faults in sorted(found.items()):
        made += [_step(name, fault, chosen) for fault in faults]
    return made


def _step(name: str, fault: spec.Fault, chosen: Sequence[contract.Component]) -> Step:
    return Step(
        f"{SUITE}/{name}/{fault.name}",
        SUITE,
        name,
        experiment.estimate(fault),
        RANKS[fault.weight],
        partial(act, name=name, fault=fault, chosen=chosen),
        harm=harm(name, fault),
        wish=fault.wish(),
    )


def act(tools: Tools, name: str, fault: spec.Fault, chosen: Sequence[contract.Component]) -> StepOutcome:
    component = next((c for c in chosen if c.name == name), None)
    outcome = experiment.Experiment(tools, fault, component, chosen).run()
    outcome.limits.extend(LIMITS)
    return outcome


def harm(name: str, fault: spec.Fault) -> str:
    """For whoever has to agree to it."""
    where = {
        "all members": f"all members of {name}",
        "quorum": f"a majority of {name}",
        "leader": f"the leader of {name}",
        "one member": f"one member of {name}",
        "pair": f"two members of {name}",
        "host": f"a host of {name}",
        "aligned": "the host on which every leader was gathered",
        "all hosts": "every host",
        "clients": f"the endpoint of {name}",
    }[fault.target]
    told = {"continues": "it goes on", "may-stop": "it may stop", "refuses-cleanly": "it stops"}
    return f"{fault.kind} of {where} for {fault.duration_s} s; promised: {told[fault.during]}"


def _coverage(ground: Ground, chosen: Sequence[contract.Component], found: dict[str, list[spec.Fault]]) -> Step:
    def run(tools: Tools) -> StepOutcome:
        outcome = StepOutcome()
        for component, check in coverage(ground.site.rooms, chosen, found):
            tools.add(outcome, report.result(component, check))
        return outcome

    return Step(f"{SUITE}/all/coverage", SUITE, "all", 0.1, plan.ALWAYS, run)


def coverage(
    rooms: Path, chosen: Sequence[contract.Component], found: dict[str, list[spec.Fault]]
) -> Iterator[tuple[str, Check]]:
    """A component without faults, or a pair that nothing breaks, is a gap in what is proved."""
    cause = {"cause": causes.NOT_COVERED}
    for component in chosen:
        faults = found.get(component.name, [])
        if not (rooms / component.name / spec.FILE).is_file():
            detail = f"{rooms.name}/{component.name}/{spec.FILE} does not exist: nothing is broken"
            yield component.name, Check("faults of the room", Verdict.FAIL, detail, cause)
        else:
            kinds = ", ".join(sorted({f.kind for f in faults}))
            yield (
                component.name,
                Check(
                    "faults of the room",
                    Verdict.PASS if faults else Verdict.FAIL,
                    f"{len(faults)} faults: {kinds}" if faults else f"{spec.FILE} lists none",
                    {} if faults else cause,
                ),
            )
        broken = {f.do.on for f in faults if isinstance(f.do, spec.DependencyCut)}
        for on in component.depends_on:
            done = on in broken
            yield (
                component.name,
                Check(
                    f"pair with {on}",
                    Verdict.PASS if done else Verdict.FAIL,
                    f"the way to {on} is broken once" if done else f"nothing breaks the way to {on}",
                    {} if done else cause,
                ),
            )
