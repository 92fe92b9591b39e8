"""The suites `load` and `stress` as steps of a campaign: what each room's load.yaml asks for.

Ranks: each room's first profile, just long enough to decide (CORE); its other profiles and
operations, as short, and the search for headroom (WIDE); full lengths and soaks (DEEP).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from common import inventory
from components.kit import contract
from validate.ground import Ground
from validate.ground.site import Site
from validate.suites import plan
from validate.suites.load import remote, stress
from validate.suites.load.case import LoadCase
from validate.suites.load.roomload import RoomLoad, Scenario, read
from validate.suites.plan import Step

LOAD, STRESS = "load", "stress"
SHORTEST_S = 45.0  # bursts of pauses and flushes must be seen often enough to be told from a tail
OVERHEAD_S = 25.0  # a client, a certificate, warm-up, removing what was written


def steps(ground: Ground, chosen: Sequence[contract.Component]) -> list[Step]:
    """Of each chosen component whose room has a load.yaml. ValidateError for one that is wrong."""
    found: list[Step] = []
    for component in chosen:
        file = ground.site.rooms / component.name / "load.yaml"
        if not file.is_file():  # coverage says that it lacks
            continue
        room = read(file)
        for place, scenario in enumerate(room.scenarios):
            found += _of(component, room, scenario, ground.site, first=place == 0)
    return found


def _of(component: contract.Component, room: RoomLoad, scenario: Scenario, site: Site, *, first: bool) -> list[Step]:
    made: list[Step] = []
    for place, name in enumerate(scenario.profiles):
        whole = _scaled(LoadCase(component, scenario, scenario.profile(name)), room, site)
        core = first and place == 0
        short = shortened(whole)
        if short is not whole:
            made.append(_step(short, plan.CORE if core else plan.WIDE))
            made.append(_step(whole, plan.DEEP))
        else:
            made.append(_step(whole, plan.CORE if core else plan.WIDE))
    base = _scaled(LoadCase(component, scenario, scenario.profile(scenario.profiles[0])), room, site)
    if scenario.stress:
        made.append(_stress(base))
    if scenario.soak:
        case = LoadCase(component, scenario, scenario.profile(scenario.soak))
        made.append(_step(_scaled(case, room, site), plan.DEEP))
    return made


def _scaled(case: LoadCase, room: RoomLoad, site: Site) -> LoadCase:
    """On a site that says it is constrained, the share of the rate that load.yaml names."""
    share = room.constrained.get(case.profile.name)
    if share is None or not inventory.is_constrained(site.inventory):
        return case
    told = (
        f"{case.title}: {share:g} of the profile's rate, because this site is constrained "
        f"({inventory.CONSTRAINED} in inventories/{site.name}); it says nothing of the whole rate."
    )
    profile = case.profile.scaled(share)
    profile = profile.model_copy(update={"assumptions": (*profile.assumptions, told)})
    return LoadCase(case.component, case.scenario, profile, (*case.words, "scaled"))


def shortened(case: LoadCase) -> LoadCase:
    """As long as its limits need to be decided; the case itself where that is all of it."""
    mean = case.profile.schedule(1).expected / case.profile.duration_s
    asked = (case.scenario.least_requests or 0) / mean
    seconds = round(max(SHORTEST_S, case.profile.decided_after_s, asked) + 0.5)
    if seconds >= 0.75 * case.profile.duration_s:
        return case
    told = f"{case.title}: {seconds:g} s instead of {case.profile.duration_s:g} s; what shows only later is not seen."
    profile = case.profile.lasting(seconds)
    profile = profile.model_copy(update={"assumptions": (*profile.assumptions, told)})
    return LoadCase(case.component, case.scenario, profile, (*case.words, "short"))


def _step(case: LoadCase, rank: int) -> Step:
    profile = case.profile
    seconds = profile.warmup_s + profile.duration_s + OVERHEAD_S
    return Step(
        f"{LOAD}/{case.component.name}/{case.title.replace(' ', '-')}",
        LOAD,
        case.component.name,
        seconds,
        rank,
        partial(remote.measure, case),
        wish=case.wish,
    )


def _stress(case: LoadCase) -> Step:
    return Step(
        f"{STRESS}/{case.component.name}/{case.scenario.name}-headroom",
        STRESS,
        case.component.name,
        stress.ESTIMATE_S,
        plan.WIDE,
        partial(stress.search, case),
        harm="drives it to its limit for a minute",
        wish=case.wish,
    )
