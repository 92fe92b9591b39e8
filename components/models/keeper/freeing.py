"""Copies that nothing names any longer go from the bucket, in three steps of which each is safe to be killed in.

A look reads who names what, and notes it. A copy whose time has come gets a mark, which names its objects by their
versions in the bucket. A later look reads the names once more, and deletes what the mark names and nothing else: the
manifest first, so that what is left is no version. Two keepers may do so at once, one of them with names that are
old: no object that was written after a mark is in it.

A keeper frees by itself only what the registry can give back. A person may free the last copy by naming it.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from http.client import HTTPException
from typing import Any, Protocol

from minio.error import MinioException
from urllib3.exceptions import HTTPError

from components.models.keeper import artefacts, notes, objects, registered
from components.models.keeper.artefacts import MANIFEST, PromotionError, Registry
from components.models.keeper.copies import Named, Rules, Standing, UnsureError, named, noted, obsolete, standing
from components.models.keeper.notes import KEEPER, MARKS, NOTES, Mark, Note
from components.models.keeper.wish import LABEL

LOOK_SECONDS = 120.0
#: Between a mark and the end of what it names: whoever looked before the mark has finished.
SETTLE_SECONDS = 60.0
#: What was written so lately is being copied, or was a moment ago.
FRESH_SECONDS = 600.0
#: A person's word: a ConfigMap with this label, which the command writes and a keeper answers.
ASKED, ANSWERED = "asked", "answered"
ASKS = "apadana.io/retire"
#: What is held, for the command: a ConfigMap that a keeper writes.
TOLD = "models-copies"
MOST_TOLD = 2000
UNVERSIONED = ("", "null")
LOST = "the registry could not give it back; a person may retire it by its digest"


class Cluster(Protocol):
    """What of the API server is used."""

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None: ...
    def all(self, kind: str, namespace: str, label: str) -> list[dict[str, Any]]: ...
    def make(self, item: Mapping[str, Any]) -> dict[str, Any]: ...
    def patch(self, kind: str, namespace: str, name: str, part: Mapping[str, Any]) -> None: ...


class Places(Protocol):
    """Where copies are and where they come from, as clients that are made anew."""

    def client(self) -> Any: ...
    def registry(self) -> Registry: ...


@dataclass(frozen=True)
class Held:
    """What lies in the bucket of one version, older and deleted objects, too."""

    objects: tuple[tuple[str, str], ...]  # key and version in the bucket
    size: int
    newest: float  # when it was written, in seconds of the epoch


@dataclass(frozen=True)
class Asked:
    """What a person asks for."""

    digest: str
    by: str
    why: str
    sure: str  # the digest once more: it may be the last copy
    text: str  # as it is stored
    name: str  # of its ConfigMap


@dataclass
class Look:
    """One look at everything."""

    now: float
    who: Named
    held: dict[str, Held]
    notes: dict[str, Note] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    standing: list[Standing] = field(default_factory=list)
    obsolete: list[str] = field(default_factory=list)


@dataclass
class Counted:
    """Since this keeper began."""

    copies: dict[str, int] = field(default_factory=dict)
    size: int = 0
    freed: int = 0
    freed_bytes: int = 0
    obsolete: int = 0


class Freeing:
    """Of one bucket; `leads` tells whether this keeper may still write."""

    def __init__(
        self,
        place: objects.Place,
        rules: Rules,
        cluster: Cluster,
        places: Places,
        log: Callable[[str], None],
        clock: Callable[[], float],
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._place, self._rules, self._cluster = place, rules, cluster
        self._places, self._log, self._clock, self._leads = places, log, clock, leads
        self._looked = 0.0
        self._failed = ""
        self._known: dict[str, tuple[str, bytes]] = {}
        self.counted = Counted()

    def round(self) -> None:
        """A look, if it is time for one; what fails is tried again in the next."""
        if self._clock() - self._looked < LOOK_SECONDS:
            return
        self._looked = self._clock()
        try:
            self.look()
            failed = ""
        except (UnsureError, PromotionError) as error:
            failed = str(error)
        except (OSError, HTTPException, MinioException, HTTPError, ValueError, KeyError) as error:
            failed = f"{type(error).__name__}: {error}"
        if failed and failed != self._failed:
            self._log(f"no copy is freed now: {failed}")
        self._failed = failed

    def look(self) -> None:
        """Note, mark and free. Raises OSError and UnsureError before anything goes."""
        store, registry = self._places.client(), self._places.registry()
        held = self._held(store)  # before the notes: who copies writes its note first
        maps = self._cluster.all("ConfigMap", self._place.work, LABEL)
        services = self._cluster.all("InferenceService", self._place.work, "")
        look = Look(self._clock(), named(maps, services, registered.aliased(registry)), held)
        self._remembered(store, look)
        self._finish(store, registry, look)
        shown = {digest: (look.notes[digest], held[digest].size) for digest in held if self._stands(look, digest)}
        look.standing = standing(shown, look.who, self._rules)
        self._obsolete(registry, look)
        self._begin(store, registry, look)
        self._told(look)

    def _held(self, store: Any) -> dict[str, Held]:
        found: dict[str, list[Any]] = {}
        for each in store.list_objects(self._place.bucket, prefix="sha256/", recursive=True, include_version=True):
            found.setdefault("sha256:" + str(each.object_name).split("/")[1], []).append(each)
        return {
            digest: Held(
                tuple(
                    (str(each.object_name), str(each.version_id or "")) for each in sorted(items, key=_manifest_first)
                ),
                sum(int(each.size or 0) for each in items),
                max(each.last_modified.timestamp() for each in items),
            )
            for digest, items in found.items()
        }

    def _remembered(self, store: Any, look: Look) -> None:
        """Notes and marks, as they are after this look."""
        look.notes = {digest: notes.as_note(text) for digest, text in self._texts(store, NOTES)}
        look.marks = {digest: notes.as_mark(text) for digest, text in self._texts(store, MARKS)}
        for digest in look.held:
            before = look.notes.get(digest, Note())
            after = noted(before, digest, look.who, look.now)
            if after != before:
                notes.write(store, self._place.bucket, digest, after)
            look.notes[digest] = after

    def _texts(self, store: Any, kind: str) -> Iterator[tuple[str, bytes]]:
        """By digest; what has not changed since the last look is not read again."""
        for each in store.list_objects(self._place.bucket, prefix=f"{kind}/sha256/", recursive=True):
            key = str(each.object_name)
            etag, text = self._known.get(key, ("", b""))
            if etag != each.etag:
                found = notes.content(store, self._place.bucket, key)
                if found is None:
                    continue
                text = found[0]
                self._known[key] = (str(each.etag), text)
            yield "sha256:" + key.rpartition("/")[2], text

    def _stands(self, look: Look, digest: str) -> bool:
        """Whether it is a copy, and not on its way out."""
        mark = look.marks.get(digest)
        return mark is None or not set(look.held[digest].objects) <= set(mark.objects)

    def _finish(self, store: Any, registry: Registry, look: Look) -> None:
        """Delete what marks name, tell the registry."""
        for digest, mark in sorted(look.marks.items()):
            if not mark.freed and look.now - mark.at >= SETTLE_SECONDS and self._leads():
                if (digest in look.held and not self._stands(look, digest)) and look.who.of(digest, look.notes[digest]):
                    self._renewed(store, registry, digest)
                    continue
                look.marks[digest] = mark = self._freed(store, digest, mark)
            if mark.freed and not mark.told:
                self._record(store, registry, digest, mark)

    def _renewed(self, store: Any, registry: Registry, digest: str) -> None:
        """Somebody names it again: it is written anew, and then what the mark names may go."""
        try:
            artefacts.again(registry, store, self._place.bucket, digest, self._log)
        except PromotionError as error:
            self._log(f"{digest} is to go, is named again, and can't be written anew: {error}")

    def _freed(self, store: Any, digest: str, mark: Mark) -> Mark:
        for key, version in mark.objects:
            store.remove_object(self._place.bucket, key, version_id=version)
        after = replace(mark, freed=self._clock())
        notes.write(store, self._place.bucket, digest, after)
        self._log(f"{digest}: {mark.size} bytes freed, by {mark.by}: {mark.why}")
        self.counted.freed += 1
        self.counted.freed_bytes += mark.size
        return after

    def _record(self, store: Any, registry: Registry, digest: str, mark: Mark) -> None:
        at = _spelt(mark.freed)
        try:
            for reference in mark.references:
                said = f"{at} by {mark.by}: {mark.why}; {mark.size} bytes of {digest}"
                registered.tell(registry, reference, registered.FREED, said)
        except OSError as error:
            self._log(f"{digest}: the registry can't be told now: {error}")
            return
        notes.write(store, self._place.bucket, digest, replace(mark, told=True))

    def _begin(self, store: Any, registry: Registry, look: Look) -> None:
        """Mark what goes now: its time has come, or a person named it."""
        due = {each.digest: each for each in look.standing}
        for asked in self._asks():
            refused = _refused(asked, due.get(asked.digest), look)
            if not refused and self._leads():
                self._mark(store, look, asked.digest, asked.by, asked.why)
            self._answer(asked, refused or "it goes: its objects are deleted at the next look")
            due.pop(asked.digest, None)
        for each in due.values():
            if each.goes is None or each.goes > look.now or not self._leads():
                continue
            self._by_itself(store, registry, look, each)

    def _by_itself(self, store: Any, registry: Registry, look: Look, each: Standing) -> None:
        whole = self._manifest(store, each.digest)
        if whole and not registered.whole(registry, each.references, whole):
            self._stays(look, each, LOST)
        elif any(version in UNVERSIONED for _, version in look.held[each.digest].objects):
            self._stays(look, each, "its bucket keeps no versions of objects")
        elif look.held[each.digest].newest < look.now - FRESH_SECONDS:
            why = f"obsolete, as {', '.join(look.obsolete)}" if set(each.references) & set(look.obsolete) else ""
            self._mark(store, look, each.digest, KEEPER, why or f"nothing names it for {self._rules.days} days")

    def _manifest(self, store: Any, digest: str) -> list[str]:
        """Its files; none: it was never whole, so nobody misses it."""
        with suppress(PromotionError):
            return artefacts.held(store, self._place.bucket, digest)
        return []

    def _stays(self, look: Look, each: Standing, why: str) -> None:
        place = look.standing.index(each)
        look.standing[place] = replace(each, kept=(why,), goes=None)

    def _mark(self, store: Any, look: Look, digest: str, by: str, why: str) -> None:
        held = look.held[digest]
        references = look.notes[digest].references
        mark = Mark(look.now, by, why, held.size, held.objects, references)
        notes.write(store, self._place.bucket, digest, mark)
        look.standing = [each for each in look.standing if each.digest != digest]
        look.marks[digest] = mark
        self._log(f"{digest}: goes, by {by}: {why}")

    def _obsolete(self, registry: Registry, look: Look) -> None:
        """Versions of the registry that are old and named by nothing are told so there; their copies go now."""
        if self._rules.obsolete_days is None:
            return
        kept = [ref for each in look.standing if each.stays for ref in each.references]
        every = registered.versions(registry)
        found = obsolete(every, look.who, kept, self._rules.obsolete_days, look.now)
        look.obsolete = [each.reference for each in found]
        at = _spelt(look.now)
        for each in every:
            if each.retired and each not in found:
                registered.untell(registry, each.reference, registered.RETIRED)
                self._log(f"{each.reference} is in use again: no longer retired")
            elif each in found and not each.retired and self._leads():
                why = f"older than {self._rules.obsolete_days} days, in no release, under no alias"
                registered.tell(registry, each.reference, registered.RETIRED, f"{at} by {KEEPER}: {why}")
                self._log(f"{each.reference}: retired, by {KEEPER}: {why}")
        look.standing = [
            replace(each, goes=look.now)
            if each.references and not each.stays and set(each.references) <= set(look.obsolete)
            else each
            for each in look.standing
        ]

    def _asks(self) -> Iterable[Asked]:
        """What people ask for and was not answered."""
        for item in self._cluster.all("ConfigMap", self._place.work, ASKS):
            text = item.get("data", {}).get(ASKED, "")
            with suppress(ValueError, KeyError, TypeError):
                if json.loads(item["data"].get(ANSWERED, "{}")).get("of") == text:
                    continue
                told = {key: str(json.loads(text)[key]) for key in ("digest", "by", "why", "sure")}
                yield Asked(**told, text=text, name=item["metadata"]["name"])

    def _answer(self, asked: Asked, said: str) -> None:
        self._log(f"{asked.digest}: {asked.by} asks to retire it: {said}")
        answer = json.dumps({"of": asked.text, "said": said, "at": self._clock()})
        self._cluster.patch("ConfigMap", self._place.work, asked.name, {"data": {ANSWERED: answer}})

    def _told(self, look: Look) -> None:
        """For the command and for Prometheus."""
        goes = [
            {"digest": digest, "references": mark.references, "size": mark.size, "by": mark.by, "why": mark.why}
            for digest, mark in sorted(look.marks.items())
            if not mark.freed
        ]
        days = self._rules.obsolete_days
        said = {
            "copies": [asdict(each) for each in look.standing[:MOST_TOLD]],
            "going": goes[:MOST_TOLD],
            "obsolete": None if days is None else {"days": days, "versions": look.obsolete[:MOST_TOLD]},
        }
        states = ["stays" if each.goes is None else "waits" for each in look.standing] + ["goes"] * len(goes)
        self.counted.copies = {state: states.count(state) for state in ("stays", "waits", "goes")}
        self.counted.size = sum(each.size for each in look.held.values())
        self.counted.obsolete = len(look.obsolete)
        data = {"copies": json.dumps(said, sort_keys=True)}
        have = self._cluster.get("ConfigMap", self._place.work, TOLD)
        if have is None:
            metadata = {"name": TOLD, "namespace": self._place.work, "labels": {"app.kubernetes.io/part-of": "apadana"}}
            self._cluster.make({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
        elif have.get("data") != data:
            self._cluster.patch("ConfigMap", self._place.work, TOLD, {"data": data})

    def numbers(self) -> list[str]:
        """Prometheus' text, of the keeper that looks."""
        counted = self.counted
        lines = ["# TYPE apadana_models_copies gauge"]
        lines += [f'apadana_models_copies{{state="{state}"}} {count}' for state, count in counted.copies.items()]
        for name, kind, value in (
            ("copies_bytes", "gauge", counted.size),
            ("obsolete", "gauge", counted.obsolete),
            ("freed_total", "counter", counted.freed),
            ("freed_bytes_total", "counter", counted.freed_bytes),
        ):
            lines += [f"# TYPE apadana_models_{name} {kind}", f"apadana_models_{name} {value}"]
        return lines


def _spelt(seconds: float) -> str:
    """A time of the epoch, for the registry."""
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="seconds")


def _manifest_first(each: Any) -> tuple[bool, str, str]:
    return (not str(each.object_name).endswith(f"/{MANIFEST}"), str(each.object_name), str(each.version_id or ""))


def _refused(asked: Asked, found: Standing | None, look: Look) -> str:
    """ "": what a person asks for can be done."""
    if found is None:
        return "refused: no copy of it is held, or it goes already"
    if asked.sure != asked.digest:
        return f"refused: the confirmation names {asked.sure or 'nothing'}; allowed: {asked.digest}"
    if who := look.who.of(asked.digest, look.notes[asked.digest]):
        return f"refused: it is named by {', '.join(who)}"
    if any(version in UNVERSIONED for _, version in look.held[asked.digest].objects):
        return "refused: its bucket keeps no versions of objects, so that no copy can go safely"
    if look.held[asked.digest].newest >= look.now - FRESH_SECONDS:
        return f"refused: it was copied less than {FRESH_SECONDS / 60:.0f} minutes ago; ask again then"
    return ""
