"""The suite as a step of a campaign: which pods it needs, what it can't show, what is told."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

from components.kit import contract
from components.kit.probing import Check, Verdict
from validate.core.errors import ValidateError
from validate.core.model import Result, Table
from validate.ground import Ground
from validate.suites.integration import judge, links
from validate.suites.integration.chain import CLIENT, SERVER, TRAINER, BrokenError, Chain, ChainRun
from validate.suites.integration.expected import ChainOptions, Expected
from validate.suites.plan import CORE, Step, StepOutcome, Tools

SUITE, COMPONENT = "integration", "chain"
NEEDED, ONLINE = ("kafka", "postgres", "minio"), "redis"
RECORD = "integration-chain.jsonl"
SECONDS = 120.0
LIMITS = (
    "In this chain a random forest of 25 trees stands for the models, a server of ours (in the shape of KServe's v1 "
    "protocol) for the serving; both run in pods. Where the rooms of the layer ml are, they have a story of their own.",
    "Questions are asked inside the server's pod: no gateway lies between user and model in this chain.",
    "The records are generated, 1 KB each, from a seed (validate/pod/integration/records.py).",
    "Kafka keeps the raw records until its retention is over (24 h): a client may not delete them.",
)
ASSUMPTIONS = (
    "Records stream at 231/s, ten times the contract's mean of 60 million a month.",
    "A segment counts as answered rightly from 90 % of the clear cases on; the mean answer of an "
    "unchanged segment may move by 0.2.",
)


def steps(ground: Ground, chosen: Sequence[contract.Component]) -> list[Step]:
    """One step, if the platform has a log, a table and objects; none if `--only` leaves one out."""
    there = {c.name for c in ground.site.platform.components}
    if not there & set(NEEDED) or not {c.name for c in chosen} >= there & set(NEEDED):
        return []
    wish = ChainOptions()
    return [
        Step(
            f"{SUITE}/{COMPONENT}/retraining",
            SUITE,
            COMPONENT,
            SECONDS,
            CORE,
            lambda tools: act(tools, wish),
            wish=wish.as_dict(),
        )
    ]


def act(tools: Tools, wish: ChainOptions) -> StepOutcome:
    """Runs the chain once; one Result for each link."""
    outcome = StepOutcome(limits=list(LIMITS), assumptions=list(ASSUMPTIONS))

    def tell(check: Check) -> None:
        result = Result.of(SUITE, COMPONENT, check)
        tools.add(outcome, replace(result, records=(RECORD,)))

    outcome.tables += run(tools.ground, wish, tools.folder, tools.say, tell)
    return outcome


def run(
    ground: Ground, wish: ChainOptions, folder: Path, say: Callable[[str], None], tell: Callable[[Check], None]
) -> list[Table]:
    """Tells a Check for every link as it is known; links that were not reached are INVALID."""
    components = {c.name: c for c in ground.site.platform.components}
    online = ONLINE in components
    left = links.names(online)
    tables: list[Table] = []

    def told(check: Check) -> None:
        left.remove(check.name)
        tell(check)

    try:
        _run(ground, components, Expected(wish, secrets.token_hex(4)), folder, say, told, tables)
    except BrokenError as error:
        _untold(left, error, tell)
    except ValidateError as error:
        _untold(left, BrokenError(Verdict.INVALID, str(error)), tell)
    return tables


def _run(
    ground: Ground,
    components: dict[str, contract.Component],
    expected: Expected,
    folder: Path,
    say: Callable[[str], None],
    told: Callable[[Check], None],
    tables: list[Table],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        clients = {
            role: stack.enter_context(ground.client(given, role=role)) for role, given in pods(components).items()
        }
        chain = Chain(clients, expected, folder / RECORD)
        chain_run = ChainRun(chain, say, ONLINE in components)
        chain.call(CLIENT, "clean")  # what a killed run left behind
        try:
            for check in chain_run.tell():
                told(check)
        finally:
            tables += chain_run.tables()
            with suppress(ValidateError, BrokenError):  # the link then stays untold: INVALID
                chain.call(SERVER, "stop")
                told(judge.cleaned(links.CLEAN, chain.call(CLIENT, "clean")))


def pods(components: dict[str, contract.Component]) -> dict[str, list[contract.Component]]:
    """Which stores each pod may reach: who trains has objects only, so all must have gone by them.
    Raises ValidateError when one is missing."""
    missing = [name for name in NEEDED if name not in components]
    if missing:
        raise ValidateError(f"the chain needs {', '.join(NEEDED)}; the contract has no {', '.join(missing)}")
    objects, online = components["minio"], [components[n] for n in (ONLINE,) if n in components]
    everything = [components[name] for name in NEEDED]
    return {CLIENT: [*everything, *online], TRAINER: [objects], SERVER: [objects, *online]}


def _untold(left: list[str], why: BrokenError, tell: Callable[[Check], None]) -> None:
    """The link that broke carries the reason; those after it were not reached."""
    for number, link in enumerate(left):
        if number == 0:
            tell(why.check(link))
        else:
            tell(Check(link, Verdict.INVALID, f"not reached: {left[0]} broke"))
