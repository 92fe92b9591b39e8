"""The story as a step of a campaign: which rooms it needs, what it can't show, what is told."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from components.kit import contract, naming
from components.kit.probing import Check
from validate.core.model import Result
from validate.ground import Ground
from validate.pod.story.records import Story
from validate.suites.plan import DEEP, Step, StepOutcome, Tools
from validate.suites.story import chain, judge
from validate.suites.story.rooms import SiteRooms

SUITE, COMPONENT = "integration", "rooms"
#: Those that the pod asks, and those that commands reach.
ASKED, REACHED = ("kafka", "streaming", "feast", "mlflow", "models", "outcomes"), ("workflows", "kserve", "gateway")
RECORD = "integration-rooms.jsonl"
SECONDS = 900.0
LIFETIME_S = 3600
LIMITS = (
    "Records are sent by the account of the room streaming itself: no producer of the site lends its own.",
    "Kafka keeps the records of a run until its retention is over; so does the bucket of workflows what steps handed "
    "on. MLflow keeps the registered model `machines`, without a version, and the code of the problem.",
    "What the released versions' files were stays in the bucket of models for copies_days.",
    "The machines, 25 to be asked about and 40 to be learnt from of each kind at most, have two features.",
)
ASSUMPTIONS = (
    "A segment counts as answered rightly from 90 % of the questions on; of an unchanged segment one answer in ten may "
    "be another one.",
)


@dataclass(frozen=True)
class StoryOptions:
    """How much, and what is allowed; all of it is part of the plan's digest. `learnt`, `asked`: of each kind."""

    seed: int = 2026
    learnt: int = 40
    asked: int = 20
    right: float = judge.RIGHT
    moved: float = judge.MOVED

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def steps(ground: Ground, chosen: Sequence[contract.Component]) -> list[Step]:
    """One step where every room is there and none is left out by `--only`; a site without the layer ml has none."""
    managed = {each.name for each in ground.site.platform.components if each.mode == "managed"}
    if not {each.name for each in chosen} & managed >= {*ASKED, *REACHED}:
        return []
    wish = StoryOptions()
    what = f"{SUITE}/{COMPONENT}/story"
    return [Step(what, SUITE, COMPONENT, SECONDS, DEEP, lambda tools: act(tools, wish), wish=wish.as_dict())]


def act(tools: Tools, wish: StoryOptions) -> StepOutcome:
    """Tells the story once; one Result for each link."""
    outcome = StepOutcome(limits=list(LIMITS), assumptions=list(ASSUMPTIONS))
    ground, site = tools.ground, tools.ground.site
    story = Story(secrets.token_hex(4), wish.seed, wish.learnt, wish.asked)
    tools.folder.mkdir(parents=True, exist_ok=True)

    def tell(check: Check) -> None:
        tools.add(outcome, replace(Result.of(SUITE, COMPONENT, check), records=(RECORD,)))

    with ground.client(components(site.platform), role="story", lifetime_s=LIFETIME_S) as client:
        rooms = SiteRooms(site, client, story, tools.folder / RECORD)
        outcome.tables += chain.run(rooms, story, tools.say, tell)
    return outcome


def components(platform: contract.Platform) -> list[contract.Component]:
    """What the pod is given. Kafka's log-in is that of the room streaming, which alone may write its topic on each
    site."""
    found = [platform.component(name) for name in ASKED]
    ours = naming.client_secret("kafka", "streaming")
    return [each.model_copy(update={"secret_ref": ours}) if each.name == "kafka" else each for each in found]
