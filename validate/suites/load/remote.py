"""One run of the generator where the platform's clients are, followed and judged from here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from components.kit import contract
from components.kit.probing import Check, Verdict
from validate.core.errors import ClusterError, ValidateError
from validate.core.model import Result, check_from, slug
from validate.ground import Client
from validate.ground.pods import new_run_id
from validate.pod.load.httptarget import HttpRequest
from validate.pod.load.ledger import Ledger
from validate.pod.load.outcome import LoadOutcome
from validate.pod.load.worker import Order
from validate.suites.load import footprint, showing, verdict
from validate.suites.load.case import LoadCase
from validate.suites.load.profiles import Profile
from validate.suites.load.roomload import Scenario
from validate.suites.plan import StepOutcome, Tools

Watch = Callable[[float, Ledger], str]
CERTIFY_S, OPEN_AND_CLEAN_S = 60.0, 200.0
LIMITS = (
    "Load: latency is measured from when a request was due, so it holds what waiting users feel; "
    "it is not comparable with tools that wait for an answer before they send again.",
    "Load: one client pod; its network path is part of what is measured.",
)


def measure(case: LoadCase, tools: Tools) -> StepOutcome:
    """The step: certificate, run, verdicts, tables. What can't be judged is INVALID, with why."""
    found = StepOutcome(limits=list(LIMITS), assumptions=list(case.profile.assumptions))
    profile, component = case.profile, case.component

    def tell(check: Check, records: tuple[str, ...] = ()) -> None:
        named = replace(check, name=f"{case.title}: {check.name}")
        result = replace(Result.of("load", component.name, named), records=records)
        tools.add(found, result)

    sampler = footprint.Sampler(tools.ground, component.name) if profile.max_drift_share else None
    try:
        order = order_of(case.scenario, profile, component)
        with tools.ground.client([component], role="load", lifetime_s=_lifetime(profile)) as client:
            if sampler:
                sampler.start()
            outcome, certificates = run(client, order, profile, tools.say, certified=False)
    except (ClusterError, ValidateError) as error:
        tell(Check("run", Verdict.INVALID, str(error)))
        return found
    finally:
        growth = sampler.stop() if sampler else []
    for check in certificates:
        tell(check)
    if isinstance(outcome, str):
        tell(Check("run", Verdict.INVALID, outcome))
        return found
    record = _write(tools, case, outcome, growth)
    for check in verdict.judge(profile, outcome):
        tell(check, (record,))
    for check in footprint.judge(growth, profile.max_drift_share or 0) if sampler else []:
        tell(check, (record,))
    found.tables += showing.tables(f"{component.name} {case.title}", profile, outcome)
    if outcome.stopped:
        found.limits.append(f"{case.title} was stopped early: {outcome.stopped}.")
    if outcome.left:
        found.limits.append(f"{case.title} could not remove what it wrote: {outcome.left}")
    return found


def run(
    client: Client,
    order: Order,
    profile: Profile,
    say: Callable[[str], None],
    *,
    certified: bool,
    stop_early: bool = True,
) -> tuple[LoadOutcome | str, list[Check]]:
    """(what was measured, or why nothing was; the certificates of the generator)."""
    wish = json.dumps({"order": order.record(), "certify": not certified})
    certificates: list[Check] = []
    ledger, stopped = verdict.new_ledger(profile), ""
    spoken = -10.0
    longest = CERTIFY_S + profile.warmup_s + profile.duration_s + OPEN_AND_CLEAN_S
    for record in client.inside("load", "--order", wish, timeout=longest):
        kind = record["kind"]
        if kind == "check":
            certificates.append(check_from(record))
        elif kind == "progress":
            ledger.take(record["ledger"])
            if record["at_s"] - spoken >= 10:
                spoken = record["at_s"]
                say(showing.progress(profile, record["at_s"], ledger))
            if stop_early and not stopped and (stopped := verdict.hopeless(profile, ledger)):
                with suppress(ClusterError):  # it only ends later
                    list(client.inside("load", "--run", order.run, timeout=20))
        elif kind == "failed":
            return f"the generator could not run: {record['why']}", certificates
        elif kind == "outcome":
            return replace(LoadOutcome.of(record), stopped=stopped), certificates
    bad = [check.name for check in certificates if check.verdict is not Verdict.PASS]
    if bad:
        return f"the generator is not certified there and now: {', '.join(bad)}", certificates
    return "the generator ended without a result", certificates


def order_of(scenario: Scenario, profile: Profile, component: contract.Component) -> Order:
    """What the generator's processes are given; with a run id of its own."""
    order = replace(
        profile.order(),
        room=component.name,
        operation=scenario.operation,
        run=f"load{new_run_id()}",
        clients=scenario.clients,
    )
    if scenario.operation != "http":
        return order
    endpoint = next((e for e in component.endpoints_in if e.protocol == scenario.endpoint), None)
    if endpoint is None:
        offered = ", ".join(e.protocol for e in component.endpoints_in) or "none"
        raise ValidateError(
            f"load.yaml of {component.name} loads the endpoint {scenario.endpoint!r} and the contract has: {offered}"
        )
    scheme = "https" if endpoint.protocol == "https" or endpoint.tls_server_name else "http"
    places = tuple(address.rpartition(":")[::2] for address in endpoint.address.split(","))
    first = endpoint.tls_server_name or places[0][0]
    url = f"{scheme}://{first}:{places[0][1]}{scenario.path}"
    return replace(order, request=HttpRequest(url, connect_to=places[0][0]))


def _lifetime(profile: Profile) -> int:
    return int(CERTIFY_S + profile.warmup_s + profile.duration_s + OPEN_AND_CLEAN_S + 60)


def _write(tools: Tools, case: LoadCase, outcome: LoadOutcome, growth: list[footprint.Sample]) -> str:
    """The raw record; its name relative to the records' folder."""
    name = re.sub(r"[^a-z0-9.-]", "-", f"load-{case.component.name}-{slug(case.title)}.json")
    record: dict[str, Any] = {
        "profile": case.profile.model_dump(mode="json"),
        **outcome.as_dict(),
        "footprint": [sample.as_dict() for sample in growth],
    }
    (tools.folder / name).write_text(json.dumps(record))
    return name
