"""What is kept of one person: found first, then erased, and what stays where is said.

A person is a record's number, as the feature store has it: `tabular/17`. Records have no other name.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol
from urllib.parse import quote

from common.errors import Refusal
from components.mlflow import settings as mlflow_room
from problems import reproducing
from problems.asking import Server
from problems.cluster import FEAST, known
from problems.lineage import LineageError, Named
from problems.reproducing import Version
from problems.staying import Staying
from problems.tracking import Mlflow
from validate.ground.site import Site

PERSON = re.compile(r"([a-z][a-z0-9]{1,19})/(0|[1-9][0-9]{0,9})")
#: In a pod of the feature store.
FORGET = ("python3", "-m", "apadana_feast.forget")
FORGET_S = 150.0


@dataclass(frozen=True)
class Person:
    """Whose records they are."""

    problem: str
    number: int

    def __str__(self) -> str:
        """As it is said."""
        return f"{self.problem}/{self.number}"


def person(text: str) -> Person:
    """Raises Refusal."""
    found = PERSON.fullmatch(text)
    if found is None or found[1] not in known():
        raise Refusal(f"{text!r} is no PROBLEM/NUMBER, e.g. tabular/17; problems: {', '.join(known())}")
    if hasattr(importlib.import_module(f"problems.{found[1]}.problem"), "keys"):
        allowed = "a problem whose records have numbers"
        raise Refusal(f"{text}: the records of {found[1]} are named by who sent them to the stream; allowed: {allowed}")
    return Person(found[1], int(found[2]))


@dataclass(frozen=True)
class Item:
    """Something of the person, and how it goes."""

    what: str
    erase: Callable[[], object]


class Store(Protocol):
    """One of those that keep something."""

    def of(self, who: Person) -> Iterator[Item]:
        """What is there."""

    def stays(self, who: Person) -> Iterator[str]:
        """What it can't erase, and until when that is there."""


@dataclass
class Registry:
    """Records that versions keep. A content is the whole of a training's records and is named by its digest: it goes as
    a whole, and the versions that came from it can't be had again."""

    mlflow: Mlflow
    staying: Staying = field(default_factory=Staying)
    versions: list[Version] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def of(self, who: Person) -> Iterator[Item]:
        """Each content once, with the versions that came from it."""
        self._look(who)
        places = {self.mlflow.contents(version.experiment).folder for version in self.versions}
        of_digest: dict[str, list[str]] = {}
        for version in self.versions:
            for digest in sorted({version.lineage.data.sha256, version.lineage.features.sha256}):
                of_digest.setdefault(digest, []).append(str(version))
        for place in sorted(places):
            for digest, names in of_digest.items():
                content = self.mlflow.fetch(f"{place}/{digest}")
                if content is not None and len(json.loads(content)) > who.number:
                    what = f"MLflow {place}/{digest[:12]}: records of {', '.join(names)}; not to be had again then"
                    yield Item(what, partial(self.mlflow.remove, f"{place}/{digest}"))

    def _look(self, who: Person) -> None:
        self.versions, self.unread = [], []
        for each in self.mlflow.versions(f"name = '{who.problem}'"):
            named = Named(who.problem, number=str(each["version"]))
            try:
                self.versions.append(reproducing.find(self.mlflow, named))
            except LineageError as error:
                self.unread.append(f"{named} ({error})")

    def stays(self, who: Person) -> Iterator[str]:
        """Models have learnt from the records; object stores keep what was deleted for a while."""
        names = ", ".join(map(str, self.versions)) or "no version"
        yield f"what models learnt: model.joblib of {names}, until they are retired; reference.json has shares only"
        for each in self.unread:
            yield f"nobody can tell what {each} was trained on"
        yield f"bucket {mlflow_room.ROOM}: deleted objects stay as old versions, {self.staying.deleted()}"


@dataclass(frozen=True)
class Outcomes:
    """Predictions and what turned out to be true, by the ids that the callers gave to their questions."""

    server: Server
    release: str  # the model's name in service
    ids: Sequence[str]

    def of(self, who: Person) -> Iterator[Item]:
        """Each question that is kept."""
        for name in self.ids:
            place = f"/outcomes?model={quote(self.release)}&id={quote(name)}"
            found = json.loads(self.server.ask("GET", place))
            if found["predictions"] or found["outcome"]:
                what = f"outcomes: question {name} to {self.release}: {len(found['predictions'])} predictions, "
                what += "an outcome" if found["outcome"] else "no outcome"
                yield Item(what, partial(self.server.ask, "DELETE", place))

    def stays(self, who: Person) -> Iterator[str]:
        """Ids are the callers' own."""
        yield f"questions about {who} under other ids than those that were said: outcomes knows no persons"


@dataclass(frozen=True)
class FeatureStore:
    """History and newest values, by the feature store's own command in one of its pods."""

    site: Site

    def of(self, who: Person) -> Iterator[Item]:
        """What each view has."""
        for view, found in self._asked(who, really=False).items():
            if any(found.values()):
                what = f"feature store, view {view}: {found['history']} rows of the history, {found['online']} online"
                yield Item(what, partial(self._asked, who, really=True))

    def stays(self, who: Person) -> Iterator[str]:
        """Nothing of its own."""
        yield from ()

    def _asked(self, who: Person, *, really: bool) -> dict[str, dict[str, int]]:
        question = json.dumps({"entity": who.problem, "key": who.number, "really": really}).encode()
        answer = self.site.cluster.exec(
            self.site.platform.namespace, f"deploy/{FEAST}", FORGET, container=FEAST, stdin=question, timeout=FORGET_S
        )
        found: dict[str, dict[str, int]] = json.loads(answer)
        return found


def everywhere(who: Person, staying: Staying) -> Iterator[str]:
    """What no store of this command can erase."""
    source: Any = importlib.import_module(f"problems.{who.problem}.problem").SOURCE
    yield f"the source of the records, from which the next run takes them again: {source}"
    yield f"bucket workflows, problems/{who.problem}/: what steps handed on, {staying.handed_on()}"
    yield "PostgreSQL's backups, for as long as the site keeps them"
    yield "Kafka: problems write nothing there; what producers sent stays as long as its topic keeps it"
    yield from staying.records()
