"""The chain: records, a model, new records, another model. Each link is judged when it is there.

Three pods: one with the stores' clients, one that can only read and write objects and trains, one
that answers. Nothing is handed from pod to pod but names and digests; all else goes by the stores.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.kit.probing import Check, Verdict
from validate.core import causes
from validate.core.model import Table
from validate.ground import Client
from validate.pod.integration.records import SENTINEL
from validate.pod.integration.verbs import STORE
from validate.suites.integration import judge, links
from validate.suites.integration.expected import BATCH, STREAMING, Data, Expected, moved

Found = dict[str, Any]
CLIENT, TRAINER, SERVER = "integration", "trainer", "answers"  # roles of the pods
PATIENT = 240.0  # seconds for a verb; each waits for its stores by itself, and shorter


class BrokenError(Exception):
    """A link could not be tried to its end."""

    def __init__(self, verdict: Verdict, detail: str, cause: str = "") -> None:
        super().__init__(detail)
        self.verdict, self.cause = verdict, cause

    def check(self, link: str) -> Check:
        """What is told of the link."""
        return Check(link, self.verdict, str(self), {"cause": self.cause} if self.cause else {})


@dataclass
class Chain:
    """The three pods, and a record of what each was asked and said."""

    clients: Mapping[str, Client]
    expected: Expected
    record: Path

    def call(self, role: str, verb: str, **wish: Any) -> Found:
        """Runs a verb in a pod. Raises BrokenError when a store, or we, failed."""
        asked = {"run": self.expected.run, **wish}
        args = ("integration", "--act", verb, "--wish", json.dumps(asked))
        told: Found = {}
        for line in self.clients[role].inside(*args, timeout=PATIENT):
            if line.get("kind") == "integration":
                told = line
        with self.record.open("a") as file:
            file.write(json.dumps({"role": role, "wish": asked, **told}) + "\n")
        if "found" in told:
            found: Found = told["found"]
            return found
        if told.get("whose") == STORE:
            raise BrokenError(Verdict.FAIL, f"{verb}: {told['failed']}", _cause(told["error"]))
        why = told.get("failed") or f"the pod {role} said nothing"
        raise BrokenError(Verdict.INVALID, f"{verb}: {why}")

    def questions(self) -> Found:
        wish = self.expected.wish
        return {"question_seed": wish.seed, "per_segment": wish.per_segment}


def _cause(error: str) -> str:
    """What a store's failure is called."""
    if error == "MissingError":
        return causes.LOST_WRITES
    return causes.UNREACHABLE if error in ("ConnectionError", "TimeoutError") else causes.ERRORS


@dataclass
class ChainRun:
    """The order of things; keeps what later links are compared with."""

    chain: Chain
    say: Callable[[str], None]
    online: bool
    whole: bool = True  # so far, every record is in the table as it was sent
    skewed: bool = False  # the online store has other features than the table
    data: Found = field(default_factory=dict)
    models: list[Found] = field(default_factory=list)
    answers: list[Found] = field(default_factory=list)
    way: list[list[str]] = field(default_factory=list)

    def tell(self) -> Iterator[Check]:
        yield from self.delivery(BATCH)
        yield from self.first_model()
        yield from self.delivery(STREAMING)
        yield from self.second_model()
        yield from self.closer_look()

    def delivery(self, mode: str) -> Iterator[Check]:
        chain, wanted = self.chain, self.chain.expected.holding(mode)
        rate = chain.expected.wish.rate if mode == STREAMING else None
        pace = f"{rate:g}/s" if rate else "at once"
        self.say(f"{wanted.count} records, {pace}, through Kafka to PostgreSQL and S3")
        delivery = vars(chain.expected.deliveries[mode])
        sent = chain.call(CLIENT, "load", delivery=delivery, rate=rate)
        yield judge.read_again(links.of(mode, links.IN_LOG), sent, wanted)
        held = chain.call(CLIENT, "look_back", mode=mode)
        yield judge.held(links.of(mode, links.IN_TABLE), "table", held, sent)
        yield judge.held(links.of(mode, links.IN_OBJECTS), "objects", held, sent)
        self.whole &= held["table_digest"] == wanted.digest and not held["skewed"]
        yield judge.set_aside(links.of(mode, links.ASIDE), sent, wanted)
        if self.online:
            yield judge.parity(links.of(mode, links.PARITY), held)
            self.skewed = bool(held["online_skewed"])
        counts = (sent["sent"], sent["read"], held["table"], held["objects"])
        aside = sum(sent["aside"].values())
        self.way.append([mode, *map(str, counts), str(aside), f"{sent['seconds']:.1f}"])

    def train(self) -> Found:
        """Publishes the data of now and has them trained on, in a pod that has nothing else."""
        wish = self.chain.expected.wish
        self.data = self.chain.call(CLIENT, "publish", window=wish.window)
        self.models.append(
            self.chain.call(TRAINER, "train", data=self.data["data"], seed=wish.seed, **self.chain.questions())
        )
        return self.models[-1]

    def wanted(self, *modes: str) -> Data | None:
        """What the training data must be; unknown when records are missing, which is told there."""
        return self.chain.expected.data(*modes) if self.whole else None

    def ask(self) -> Found:
        self.answers.append(self.chain.call(SERVER, "ask", **self.chain.questions()))
        return self.answers[-1]

    def exchange(self, model: str) -> Found:
        return self.chain.call(SERVER, "exchange", model=model, **self.chain.questions())

    def first_model(self) -> Iterator[Check]:
        chain = self.chain
        self.say("training the first model")
        model = self.train()
        wanted = self.wanted(BATCH)
        yield judge.trained(links.FIRST_TRAINING, self.data, model, wanted, [])
        chain.call(CLIENT, "promote", model=model["model"])
        chain.call(SERVER, "start", model=model["model"])
        yield judge.first_answers(links.FIRST_ANSWERS, self.ask(), model, chain.expected)

    def second_model(self) -> Iterator[Check]:
        self.say("training again, on the new records")
        expected, first = self.chain.expected, self.models[0]
        model = self.train()
        wanted = self.wanted(BATCH, STREAMING)
        yield judge.trained(links.RETRAINING, self.data, model, wanted, [first])
        taken = self.exchange(model["model"])
        yield judge.taken_over(links.TAKEN_OVER, taken, first["model"])
        before, after = self.answers[0], self.ask()
        yield judge.changed(links.CHANGED, before, after, (first, model), expected)
        yield judge.stayed(links.STAYED, before, after, expected)

    def closer_look(self) -> Iterator[Check]:
        """These don't stand on one another: one that breaks leaves the others to be seen."""
        self.say("lineage, batch answers, bad questions, roll-back")
        looks = {links.LINEAGE: self.lineage, links.REFUSED: self.refused, links.ROLLED_BACK: self.roll_back}
        if self.online:
            looks[links.SAME_ANSWERS] = self.same_answers
        for name in [link for link in links.names(self.online) if link in looks]:
            try:
                yield looks[name](name)
            except BrokenError as error:
                yield error.check(name)

    def lineage(self, name: str) -> Check:
        trace = self.chain.call(CLIENT, "trace", model=self.answers[1]["models"][0])
        wanted = self.wanted(BATCH, STREAMING)
        return judge.traced(name, trace, self.answers[1], self.data, wanted)

    def same_answers(self, name: str) -> Check:
        batch = self.chain.call(CLIENT, "score", model=self.models[1]["model"])
        machines = sorted(batch["answers"])
        online = self.chain.call(SERVER, "ask", machines=machines)
        return judge.same_answers(name, batch, online, machines, self.skewed)

    def refused(self, name: str) -> Check:
        return judge.refused(name, self.chain.call(SERVER, "ask_badly", **self.chain.questions()))

    def roll_back(self, name: str) -> Check:
        back = self.exchange(self.models[0]["model"])
        again = self.chain.call(SERVER, "ask", **self.chain.questions())
        return judge.rolled_back(name, back, again, self.answers[0])

    def tables(self) -> Iterator[Table]:
        """The way of the records, and the answers before and after."""
        columns = ("delivery", "sent", "read", "rows", "objects", "set aside", "seconds")
        note = "Some records come in altered formats on purpose and must be set aside."
        if self.way:
            yield Table("Raw records and where they arrived", columns, self.way, note)
        if len(self.answers) == 2:
            yield answers_table(self.chain.expected, *self.answers)


def answers_table(expected: Expected, before: Found, after: Found) -> Table:
    """One row for each segment."""
    first, second = (expected.by_segment(found["answers"]) for found in (before, after))
    was = judge.shares(expected, before["answers"], rebuilt=False)
    now = judge.shares(expected, after["answers"], rebuilt=True)
    rows = [
        [
            segment,
            "the opposite" if segment == SENTINEL else "the same",
            f"{was[segment]:.0%}",
            f"{now[segment]:.0%}",
            f"{moved(first[segment], second[segment]):.2f}",
        ]
        for segment in first
    ]
    columns = ("segment", "new data say", "right before", "right after", "answers moved by")
    return Table("Answers before and after retraining", columns, rows)
