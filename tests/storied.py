"""The rooms in memory, for the story's judge: dictionaries in place of stores, the problem's own model, trained for
real. A sabotage is one method that is another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from problems.machines import features, problem
from validate.pod.story.answers import BY_KEY
from validate.pod.story.records import ASKED, FEATURES, FIRST, LEARNT, ROWS, Story
from validate.suites.story.chain import Found

STORY = Story("0123abcd", 2026, learnt=20, asked=20)
PARAMETERS = {"n_estimators": 20, "max_depth": 6}
Row = list[Any]


class Memory:
    """As chain.Rooms."""

    def __init__(self, story: Story = STORY) -> None:
        self.story = story
        self.offline: dict[str, Row] = {}
        self.online: dict[str, Row] = {}
        self.versions: list[Found] = []  # as MLflow has them; each with its model
        self.serving: Found = {}
        self.kept: dict[str, Found] = {}  # questions, by their names
        self.cleaned = False

    def send(self, delivery: str) -> Found:
        sent = list(self.story.sent(delivery, datetime.now(UTC).isoformat()))
        for key, record in sent:
            if key not in self.story.altered():
                self.arrive(key, [record["values"].get(name) for name in FEATURES])
        return {"sent": len(sent), "acknowledged": len(sent), "refused": [], "seconds": 0.1}

    def arrive(self, key: str, row: Row) -> None:
        self.offline[key] = self.online[key] = row

    def look(self, delivery: str) -> Found:
        keys = [*self.story.known(delivery), *self.story.altered()]
        nothing = [None] * len(FEATURES)
        found = {"offline": self.offline, "online": self.online}
        rows = {where: {key: held.get(key, nothing) for key in keys} for where, held in found.items()}
        return {**rows, "seconds": 0.1}

    def records(self) -> list[dict[str, Any]]:
        """What a training takes."""
        return [dict(zip(FEATURES, self.offline[key], strict=True)) for key in self.story.keys(LEARNT)]

    def train(self) -> Found:
        records = self.records()
        model = problem.model(PARAMETERS, problem.Settings()).fit(features.matrix(records), features.label(records))
        return self.register(records, model)

    def register(self, records: list[dict[str, Any]], model: Any) -> Found:
        digest = hashlib.sha256(json.dumps(records).encode()).hexdigest()
        number = str(len(self.versions) + 1)
        told = {"version": number, "of_run": f"machines-{number}", "named": digest, "kept": digest, "records": records}
        self.versions.append({**told, "model": model})
        return {**told, "run": f"machines-{number}", "phase": "Succeeded", "said": "", "gates": "passed", "seconds": 1}

    def serve(self, version: str) -> Found:
        self.serving = self.versions[int(version) - 1]
        return {"reference": f"models:/machines/{version}", "answers_as": self.name(self.serving), "seconds": 1.0}

    def name(self, version: Found) -> str:
        """As answers have it."""
        return f"{int(version['version']):010x}"

    def exchange(self, version: str, old: str) -> tuple[Found, Found]:
        served = self.serve(version)
        told = {"asked": 9, "failed": 0, "examples": [], "seconds": 2.0}
        return {"versions": [old, self.name(self.serving)], **told}, served

    def row(self, key: str) -> Row:
        """What the model server looks up."""
        return self.online[key]

    def ask(self, by: str, when: str = "") -> Found:
        told = self.story.values(ASKED, FIRST)
        rows = [(self.row(key) if by == BY_KEY else list(told[key]))[:2] for key in told]
        answers = [int(each) for each in self.serving["model"].predict(rows)]
        for number in range(0, len(answers), ROWS):
            if when:
                self.note(self.story.question(number // ROWS, when), answers[number : number + ROWS])
        return {"answers": answers, "versions": [self.name(self.serving)], "asked_again": 0}

    def note(self, name: str, answers: list[int]) -> None:
        """What the room outcomes collects."""
        self.kept[name] = {"answers": answers, "actual": [], "versions": [self.name(self.serving)]}

    def tell(self, when: str, actual: Sequence[bool]) -> Found:
        names = [self.story.question(number, when) for number in range(-(-len(actual) // ROWS))]
        for at, name in enumerate(names):
            self.kept[name]["actual"] = [int(each) for each in actual[at * ROWS : (at + 1) * ROWS]]
        pairs = [(a, t) for each in self.kept.values() for a, t in zip(each["answers"], each["actual"], strict=False)]
        counted = {"labels": len(pairs), "wrong": sum(a != t for a, t in pairs), "version": self.name(self.serving)}
        return {"kept": [self.kept[name] for name in names], "figures": [counted]}

    def trace(self, answered: str) -> Found:
        found = [each for each in self.versions if self.name(each) == answered]
        told = {key: value for key, value in found[0].items() if key != "model"} if found else {}
        return {"answered": answered, "reference": f"models:/machines/{told.get('version')}" if found else "", **told}

    def clean(self) -> Mapping[str, int]:
        self.cleaned = True
        return {"release": 0, "online": 0}
