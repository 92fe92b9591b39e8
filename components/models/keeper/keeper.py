"""One round of the keeper: every release as it is wished for, and nothing that nobody wishes for.

Level and not edge: each round looks at what is there, so a keeper that was killed at any step goes
on with the next one. A version gets traffic only when its pods are ready; what answered before goes
on meanwhile. A version that nobody wants any more goes only after the route has left it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from http.client import HTTPException
from typing import Any, Protocol

from components.models.judge import looking
from components.models.keeper import beside, judging, looked, objects, sleep, targets
from components.models.keeper.artefacts import EFFECTS, PromotionError, Version
from components.models.keeper.falling import Falling
from components.models.keeper.following import Following
from components.models.keeper.judging import Judging
from components.models.keeper.kubernetes import ApiError
from components.models.keeper.lease import CONFLICT
from components.models.keeper.sleep import LEAVE_SECONDS
from components.models.keeper.sleeping import Sleeping, begin
from components.models.keeper.wish import DIGEST, LABEL, LONGEST, SERVE, SHADOW, STATE, WISH, BadWishError, Wish, read

PODS_SECONDS = 15.0  # between two looks at which pods there are
State = dict[str, Any]


class Cluster(Protocol):
    """What of the API server is used."""

    def get(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None: ...
    def all(self, kind: str, namespace: str, label: str) -> list[dict[str, Any]]: ...
    def make(self, item: Mapping[str, Any]) -> dict[str, Any]: ...
    def patch(self, kind: str, namespace: str, name: str, part: Mapping[str, Any]) -> None: ...
    def delete(self, kind: str, namespace: str, name: str) -> None: ...


class Artefacts(Protocol):
    """Where versions come from."""

    def promote(self, reference: str) -> Version: ...
    def known(self, digest: str) -> Version: ...
    def effects(self, reference: str, digest: str) -> str: ...
    def newest(self, alias: str) -> str: ...


class Keeper:
    """All releases of one platform."""

    def __init__(
        self,
        place: objects.Place,
        cluster: Cluster,
        artefacts: Artefacts,
        log: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._place, self._cluster, self._artefacts, self._log, self._clock = place, cluster, artefacts, log, clock
        self._judging = Judging(place, cluster, log, clock)
        self._following = Following(place.work, cluster, artefacts, log, clock)
        self._falling = Falling(place, cluster, clock)
        self._sleeping = Sleeping(place, cluster, clock)
        self._asking = beside.Asking()
        self._owners: dict[str, str] = {}
        #: By the release's name, for the page and the metrics.
        self.states: dict[str, State] = {}
        #: The pods of all releases, for Prometheus.
        self.pods: list[dict[str, Any]] = []
        self._looked = 0.0

    def round(self) -> None:
        """Look at everything once."""
        self._see_pods()
        maps = self._following.followed(self._cluster.all("ConfigMap", self._place.work, LABEL))
        services = self._by_release(self._cluster.all("InferenceService", self._place.work, LABEL))
        routes = self._by_release(self._cluster.all("HTTPRoute", self._place.platform, LABEL))
        wished = {}
        self._owners = beside.owners(_names(maps))
        known = list(_known(maps))
        self._judging.look(each for each in known if each[0].judge)
        self._falling.look((wish, digests) for wish, _, digests in known if wish.fall_back)
        self._sleeping.look((wish, digests) for wish, _, digests in known)
        # What is judged goes first: a version that is copied from the registry may take minutes.
        for item in sorted(maps, key=lambda item: not self._judging.due(_name(item))):
            name = _name(item)
            wished[name] = self._release(name, item, services.get(name, []), next(iter(routes.get(name, ())), None))
        for name in sorted((services.keys() | routes.keys()) - wished.keys()):
            self._retire(name, services.get(name, []), routes.get(name, []))
        self.states = wished

    def look(self) -> None:
        """What the one that writes says; for the page of the others."""
        self._see_pods()
        maps = self._cluster.all("ConfigMap", self._place.work, LABEL)
        self.states = {_name(item): _state(item) for item in maps}

    def _see_pods(self) -> None:
        if self._clock() - self._looked >= PODS_SECONDS:
            self.pods = targets.told(self._slices())
            self._looked = self._clock()

    def _slices(self) -> list[dict[str, Any]]:
        return self._cluster.all("EndpointSlice", self._place.work, looking.SERVICE)

    @staticmethod
    def _by_release(items: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for item in items:
            found.setdefault(_name(item), []).append(item)
        return found

    def _release(
        self, name: str, item: dict[str, Any], services: list[dict[str, Any]], route: dict[str, Any] | None
    ) -> State:
        before = _state(item)
        try:
            wish = read(item.get("data", {}).get(WISH, ""), name)
            after = self._kept(wish, item, services, route)
        except (BadWishError, PromotionError) as error:
            after = {**before, "phase": "refused", "why": str(error).splitlines()}
        except (OSError, HTTPException, ValueError, ArithmeticError) as error:
            if isinstance(error, ApiError) and error.status == CONFLICT:
                return before  # somebody else wrote meanwhile: the next round sees what
            after = {**before, "phase": "waits", "why": [f"{type(error).__name__}: {error}"]}
        if after != before:
            if (told := _told(after)) != _told(before):
                self._log(f"{name}: {told}")
            part = {"data": {STATE: json.dumps(after, sort_keys=True)}}
            self._cluster.patch("ConfigMap", self._place.work, item["metadata"]["name"], part)
        return after

    def _kept(
        self, wish: Wish, item: dict[str, Any], services: list[dict[str, Any]], route: dict[str, Any] | None
    ) -> State:
        """The objects of one release. Returns what is told of it."""
        before, text = _state(item), wish.text()
        if why := self._taken(wish):
            return {**before, "phase": "refused", "why": why}
        versions = self._resolved(wish, before)
        known = {ref: {k: v for k, v in asdict(found).items() if v} for ref, found in versions.items()}
        unmet = _same(wish, versions) or looked.unmet(self._place, wish, versions)
        if why := unmet or self._harm(wish, versions, before):
            return {**before, "versions": known, "phase": "refused", "why": why}
        digests = {ref: found.digest for ref, found in versions.items()}
        wish = wish.pinned(digests)
        answered, waits = self._pods(wish, versions, {s["metadata"]["name"]: s for s in services}, before)
        told: State = {
            "versions": known,
            "wish": text,
            "ready": answered,
            "beside": sorted(wish.beside),
            "harmless": sorted(digests[ref] for ref, _ in _twice(wish)),
            "judged": before.get("judged", {}) if wish.judge else {},
            "traffic": before.get("traffic", {}),
            "answering": before.get("answering", []),
            "since": before.get("since", 0),
            "fall_back": self._falling.said(wish, digests),
            "sleep": before.get("sleep", {}),
        }
        if wish.fall_back and not waits:
            backs = self._falling.backends(wish, digests[wish.fall_back])
            for back in backs:
                self._wanted("Backend", back)
            if not backs:
                waits = [f"{wish.fall_back} has no address of the cluster yet"]
        if waits:
            # What the route has left makes room, or on a full cluster the next one would wait for ever.
            wanted = {objects.version(wish, digest) for digest in digests.values()} | {sleep.stored(before).version}
            self._leave(wanted | objects.backends(route), services, float(told["since"]))
            return {**told, "phase": "waits", "why": waits}
        sleeps = self._sleeping.next(wish, digests, item, sleep.stored(before))
        told["sleep"] = sleeps.plain()
        if sleeps.held:
            return self._held(wish, digests, told, route, sleeps)
        shown, reasons, told["judged"] = self._judged(wish, item, digests)
        reasons += self._sleeping.said(wish, sleeps)
        want = objects.route(self._place, shown, digests)
        if self._wanted("HTTPRoute", want, route) or before.get("wish") != text:
            told["since"] = round(self._clock(), 1)
        shares = shown.shares()
        told["traffic"] = {objects.short(digests[ref]): share for ref, share in shares.items()}
        # Marks of the pods that answer users: a shadow's are none, nor those that have no share yet.
        told["answering"] = sorted(objects.mark(wish, digests[ref]) for ref, share in shares.items() if share)
        self._leave(set(objects.backends(want)), services, float(told["since"]))
        return {**told, "phase": wish.mode, "why": reasons}

    def _held(
        self, wish: Wish, digests: Mapping[str, str], told: State, route: dict[str, Any] | None, sleeps: sleep.Sleep
    ) -> State:
        """A release that sleeps: whatever is tried waits for its stable."""
        self._wanted("HTTPRoute", objects.route(self._place, wish, digests, asleep=True), route)
        phase = wish.mode if wish.mode == SERVE else "waits"
        return {**told, "phase": phase, "why": self._sleeping.said(wish, sleeps)}

    def _taken(self, wish: Wish) -> list[str]:
        """Its names that another release answers to."""
        return [
            f"{name} is answered by the release {owner}; allowed: a name that no other one has"
            for name in (wish.name, *wish.beside)
            if (owner := self._owners.get(name, wish.name)) != wish.name
        ]

    def _pods(
        self, wish: Wish, versions: Mapping[str, Version], there: Mapping[str, dict[str, Any]], before: State
    ) -> tuple[list[str], list[str]]:
        """The pods of each version. Returns which were ready once, for a pod that dies later takes no traffic away,
        and for what the others wait."""
        answered: list[str] = []
        waits: list[str] = []
        for ref in wish.references():
            found = versions[ref]
            name, once = objects.version(wish, found.digest), objects.mark(wish, found.digest)
            asks = looked.asks(ref, wish, versions)
            want = objects.service(self._place, wish, found.digest, found.form, looks_up=asks)
            self._wanted("InferenceService", want, there.get(name))
            self._wanted("PodDisruptionBudget", objects.budget(self._place, wish, found.digest))
            if once not in before.get("ready", []):
                if not self._ready(name, there.get(name)):
                    waits.append(f"{ref} ({name}) is not ready yet: {reason(there.get(name))}")
                    continue
                if silent := self._asking.silent(wish, name, self._slices()) if wish.beside else []:
                    waits += silent
                    continue
            answered.append(once)
        return answered, waits

    def _judged(
        self, wish: Wish, item: dict[str, Any], digests: Mapping[str, str]
    ) -> tuple[Wish, list[str], dict[str, Any]]:
        """The wish with the share that the judge gives, why it stands so, and how far it is. Written before shown."""
        why = [wish.why] if wish.why else []
        if not wish.judge:
            self._judging.forget(item)
            return wish, why, {}
        found = self._judging.judge(item, wish, digests)
        far = {"phase": found.phase, "decisions": found.made}
        return judging.shown(wish, found), [*why, *judging.said(found)], far

    def _ready(self, name: str, service: Mapping[str, Any] | None) -> bool:
        """Whether all pods of a version answer. KServe says so for a moment of a Deployment that has
        no pods yet, so the Deployment is asked, too."""
        if not ready(service):
            return False
        found = begin(self._cluster, self._place, name)  # it may be one that slept
        return found is not None and found.get("status", {}).get("availableReplicas", 0) >= self._place.replicas

    def _resolved(self, wish: Wish, before: State) -> dict[str, Version]:
        """The digest of each version; what was said once holds until the reference changes."""
        kept = before.get("versions", {})
        found = {}
        for ref in wish.all():
            if ref in kept:
                found[ref] = Version(**kept[ref])
            else:
                found[ref] = self._artefacts.known(ref) if DIGEST.fullmatch(ref) else self._artefacts.promote(ref)
        return found

    def _harm(self, wish: Wish, versions: Mapping[str, Version], before: State) -> list[str]:
        """Why a version can't be what it is wished for. Who was found harmless is not asked about again."""
        for ref, why in _twice(wish):
            digest = versions[ref].digest
            if digest in before.get("harmless", ()):
                continue
            if said := self._artefacts.effects(ref, digest):
                return [f"{ref} has side effects ({EFFECTS}: {said[:100]}), and {why}"]
        return []

    def _wanted(self, kind: str, want: dict[str, Any], have: dict[str, Any] | None = None) -> bool:
        """Make it, or change it. True: something was written."""
        metadata = want["metadata"]
        have = have or self._cluster.get(kind, metadata["namespace"], metadata["name"])
        if have is None:
            self._cluster.make(want)
            return True
        if not objects.differs(have, want):
            return False
        part = {"metadata": {"labels": metadata["labels"]}, "spec": want["spec"]}
        self._cluster.patch(kind, metadata["namespace"], metadata["name"], part)
        return True

    def _leave(self, wanted: set[str], services: list[dict[str, Any]], since: float) -> None:
        """Versions that the route left long enough ago."""
        if self._clock() - since < LEAVE_SECONDS:
            return
        for item in services:
            if (name := item["metadata"]["name"]) not in wanted:
                self._end(name)

    def _retire(self, name: str, services: list[dict[str, Any]], routes: list[dict[str, Any]]) -> None:
        """Nobody wishes for it: first its way in goes, in the next round its pods."""
        for item in routes:
            self._cluster.delete("HTTPRoute", self._place.platform, item["metadata"]["name"])
            self._log(f"{name}: retired, its route is gone")
        if not routes:
            for item in services:
                self._end(item["metadata"]["name"])

    def _end(self, version: str) -> None:
        for way in objects.WAYS:
            self._cluster.delete("Backend", self._place.platform, objects.fall_back_name(version, way))
        self._cluster.delete("PodDisruptionBudget", self._place.work, version)
        self._cluster.delete("InferenceService", self._place.work, version)
        self._log(f"{version}: gone")


def _twice(wish: Wish) -> Iterator[tuple[str, str]]:
    """Who is asked what another version was asked already, so that its effects would come a second time."""
    if wish.mode == SHADOW:
        yield wish.candidate, "copies would have them twice; allowed: mode canary"
    if wish.fall_back:
        yield wish.fall_back, "what it is asked was asked before; allowed: a fall-back without"


def _same(wish: Wish, versions: Mapping[str, Version]) -> list[str]:
    """A fall-back that is another one by its name only."""
    if not wish.fall_back:
        return []
    return [
        f"fall_back {wish.fall_back} is the same version as {ref}, and breaks with it; allowed: another one"
        for ref in (wish.stable, wish.candidate)
        if ref and versions[ref].digest == versions[wish.fall_back].digest
    ]


def _name(item: Mapping[str, Any]) -> str:
    return str(item["metadata"]["labels"][LABEL])


def _names(maps: Iterable[Mapping[str, Any]]) -> Iterator[beside.Names]:
    """Of all releases; one whose wish is none answers as it did."""
    wishes = {wish.name: wish for _, wish in _read(maps)}
    for item in maps:
        state, name = _state(item), _name(item)
        has = (name, *state.get("beside", [])) if state.get("traffic") else ()
        yield beside.Names(name, tuple(wishes[name].beside) if name in wishes else (), has)


def _read(maps: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], Wish]]:
    """Wishes that can be met, as far as they themselves say."""
    for item in maps:
        with suppress(BadWishError):
            yield item, read(item.get("data", {}).get(WISH, ""), _name(item))


def _known(maps: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Wish, Mapping[str, Any], dict[str, str]]]:
    """What can be looked at: pinned wishes whose versions were found and were ready once."""
    for item, wish in _read(maps):
        state = _state(item)
        versions = state.get("versions", {})
        if not set(wish.all()) <= versions.keys():
            continue
        digests = {ref: versions[ref]["digest"] for ref in wish.all()}
        pinned = wish.pinned(digests)
        if {objects.mark(pinned, digests[ref]) for ref in wish.references()} <= set(state.get("ready", [])):
            yield pinned, item, digests


def _state(item: Mapping[str, Any]) -> State:
    try:
        found = json.loads(item.get("data", {}).get(STATE, "{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _told(state: State) -> str:
    return f"{state.get('phase')} {state.get('traffic')} {'; '.join(state.get('why', []))}"


def ready(service: Mapping[str, Any] | None) -> bool:
    """Whether its pods answer, as KServe says of the wish that is there now."""
    if service is None:
        return False
    status, metadata = service.get("status", {}), service["metadata"]
    if status.get("observedGeneration", 0) < metadata.get("generation", 0):
        return False
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))


def reason(service: Mapping[str, Any] | None) -> str:
    """Why not, in KServe's own words."""
    status = (service or {}).get("status", {})
    told = [c.get("message") or c.get("reason") for c in status.get("conditions", []) if c["status"] == "False"]
    # What a container that ended wrote last.
    lines = str(status.get("modelStatus", {}).get("lastFailureInfo", {}).get("message", "")).strip().splitlines()
    told += [line[:LONGEST] for line in lines[-1:]]
    return "; ".join(dict.fromkeys(filter(None, told))) or "its pods are started"
