"""The order of the story. Each link is judged when it is there; one that bears those behind it ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from components.kit.probing import Check, Verdict
from validate.core import causes
from validate.core.errors import ValidateError
from validate.core.model import Table
from validate.pod.integration.records import SENTINEL
from validate.pod.story.answers import BY_FEATURES, BY_KEY
from validate.pod.story.records import DELIVERIES, FIRST, SECOND, Story
from validate.suites.story import judge, links

Found = dict[str, Any]
#: Whose questions are kept: of the first version in the old world, and in the new one.
WHENS = ("before", "since")


class RoomError(ValidateError):
    """A room did not do what it promises to do."""


class Rooms(Protocol):
    """The rooms as the story's clients see them. Each call raises RoomError, or ValidateError where we failed."""

    def send(self, delivery: str) -> Found:
        """Records go to Kafka: sent, acknowledged, refused, seconds."""
        ...

    def look(self, delivery: str) -> Found:
        """What the feature store has once it has all, or when it is late: offline, online, seconds."""
        ...

    def train(self) -> Found:
        """A run of the problem, and what the registry has of it: run, phase, said, version, named, kept, records."""
        ...

    def serve(self, version: str) -> Found:
        """The release answers by it: reference, answers_as, seconds."""
        ...

    def exchange(self, version: str, old: str) -> tuple[Found, Found]:
        """The same while questions are asked: what came of these, and as `serve`."""
        ...

    def ask(self, by: str, when: str = "") -> Found:
        """Every machine: answers, versions, asked_again. With `when` the questions are kept under its name."""
        ...

    def tell(self, when: str, actual: Sequence[bool]) -> Found:
        """What was true: kept, figures."""
        ...

    def trace(self, answered: str) -> Found:
        """From an answer's version back to the records."""
        ...

    def clean(self) -> Mapping[str, int]:
        """Takes away what the story made; how much of each kind is still there."""
        ...


class BrokenError(Exception):
    """A link on which all that follows stands did not hold."""


@dataclass
class Chain:
    """Keeps what later links are compared with."""

    rooms: Rooms
    story: Story
    say: Callable[[str], None]
    models: list[Found] = field(default_factory=list)
    served: Found = field(default_factory=dict)  # the first version
    asked: list[Found] = field(default_factory=list)  # by key: in the old world, in the new one, after retraining

    def tell(self) -> Iterator[Check]:
        """Each link as it is known. Raises BrokenError, RoomError, ValidateError."""
        for link in (self.first, self.second, self.retrained):
            for check in link():
                yield check
                if check.verdict is not Verdict.PASS and check.name in links.BEARING:
                    raise BrokenError(check.name)

    def delivery(self, delivery: str) -> Iterator[Check]:
        self.say(f"{delivery} delivery: records to Kafka, and on to the feature store")
        sent = self.rooms.send(delivery)
        yield judge.acknowledged(links.of(delivery, links.IN_LOG), sent, self.story, delivery)
        seen = self.rooms.look(delivery)
        for link, where in ((links.OFFLINE, "offline"), (links.ONLINE, "online")):
            yield judge.held(links.of(delivery, link), where, seen, self.story, delivery)
        yield judge.aside(links.of(delivery, links.ASIDE), seen, self.story)

    def first(self) -> Iterator[Check]:
        yield from self.delivery(FIRST)
        self.say("a workflow trains on what the feature store knows")
        model = self._train()
        yield judge.trained(links.FIRST_TRAINING, model, self.story, FIRST)
        self.say(f"a release serves version {model['version']}")
        self.served = self.rooms.serve(model["version"])
        asked = self._ask(WHENS[0])
        yield judge.answered(links.FIRST_ANSWERS, asked, self.served, self.story)
        yield judge.same(links.BY_FEATURES, asked, self.rooms.ask(BY_FEATURES))
        truths = self.story.truths(FIRST)
        yield judge.outcomes(links.FIRST_OUTCOMES, self.rooms.tell(WHENS[0], truths), asked, truths)

    def second(self) -> Iterator[Check]:
        yield from self.delivery(SECOND)
        self.say(f"the same questions in the new world, in which {SENTINEL}es are another thing")
        asked = self._ask(WHENS[1])
        found = self.rooms.tell(WHENS[1], self.story.truths(SECOND))
        both = [(self.asked[0], self.story.truths(FIRST)), (asked, self.story.truths(SECOND))]
        yield judge.contradicted(links.CONTRADICTED, found, both, self.story)

    def retrained(self) -> Iterator[Check]:
        self.say("a workflow trains again")
        model = self._train()
        yield judge.trained(links.RETRAINING, model, self.story, SECOND, self.models[0])
        self.say(f"the release takes version {model['version']}")
        old = self.served["answers_as"]
        found, served = self.rooms.exchange(model["version"], old)
        yield judge.taken_over(links.TAKEN_OVER, found, served, old)
        after = self._ask("")
        yield judge.changed(links.CHANGED, self.asked[0], after, served, self.story)
        yield judge.stayed(links.STAYED, self.asked[0], after, self.story)
        yield judge.traced(links.LINEAGE, self.rooms.trace(after["versions"][0]), after, model, self.story)

    def _train(self) -> Found:
        self.models.append(self.rooms.train())
        return self.models[-1]

    def _ask(self, when: str) -> Found:
        self.asked.append(self.rooms.ask(BY_KEY, when))
        return self.asked[-1]

    def tables(self) -> Iterator[Table]:
        """The answers before and after, where it came so far."""
        if len(self.asked) <= len(DELIVERIES):
            return
        was = judge.shares(self.story, self.asked[0]["answers"], FIRST)
        old, now = (judge.shares(self.story, each["answers"], SECOND) for each in self.asked[1:])
        rows = [
            [kind, "the opposite" if kind == SENTINEL else "the same"]
            + [f"{each[kind]:.0%}" for each in (was, old, now)]
            for kind in was
        ]
        columns = ("segment", "new records say", "right before", "right since, old version", "right after retraining")
        yield Table("Answers of the rooms before and after retraining", columns, rows)


def run(rooms: Rooms, story: Story, say: Callable[[str], None], tell: Callable[[Check], None]) -> list[Table]:
    """Tells a Check for every link as it is known; links that were not reached are INVALID. Cleans up in any case."""
    left, chain = links.names(), Chain(rooms, story, say)

    def told(check: Check) -> None:
        left.remove(check.name)
        tell(check)

    try:
        for check in chain.tell():
            told(check)
    except BrokenError as error:
        _unreached(left, str(error), told)
    except ValidateError as error:
        verdict = Verdict.FAIL if isinstance(error, RoomError) else Verdict.INVALID
        broken = left[0]
        told(Check(broken, verdict, str(error), {"cause": causes.ERRORS} if verdict is Verdict.FAIL else {}))
        _unreached(left, broken, told)
    finally:
        say("taking away what the story made")
        try:
            told(judge.cleaned(links.CLEAN, rooms.clean()))
        except ValidateError as error:
            told(Check(links.CLEAN, Verdict.INVALID, f"not all of it could be taken away: {error}"))
    return list(chain.tables())


def _unreached(left: Sequence[str], broken: str, told: Callable[[Check], None]) -> None:
    for link in [each for each in left if each != links.CLEAN]:
        told(Check(link, Verdict.INVALID, f"not reached: {broken} broke"))
