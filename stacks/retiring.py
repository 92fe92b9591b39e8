"""What `python -m stacks.models` says and asks of the copies of versions that the keepers hold."""

from __future__ import annotations

import argparse
import datetime as dt
import getpass
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from components.models.keeper.freeing import ANSWERED, ASKED, ASKS, LOST, TOLD
from components.models.keeper.objects import short
from components.models.keeper.wish import DIGEST
from stacks.wishes import ModelsError, Wishes

KIB = 1024


def arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Of `list` and `retire`."""
    if verb == "list":
        parser.add_argument("--held", action="store_true", help="copies in the bucket: who names them, when they go")
        parser.add_argument(
            "--obsolete", action="store_true", help="versions of the registry that nobody uses any more"
        )
        return
    words = "only this version's copy, by models:/<name>/<version> or digest; left out: the whole release"
    parser.add_argument("version", nargs="?", help=words)
    parser.add_argument("--confirm", default="", metavar="DIGEST", help="the copy's digest once more: it goes")
    parser.add_argument("--why", default="", help="stands in the record")
    parser.add_argument("--by", default="", help="who wishes it; left out: the user of this machine")


class Copies(Wishes):
    """The ConfigMaps of copies: what the keepers tell, and what a person asks for."""

    def told(self) -> dict[str, Any]:
        """Raises ModelsError where no keeper has looked yet."""
        text = self._ask("get", "configmap", TOLD, "--ignore-not-found", "--output=json")
        if not text.strip():
            raise ModelsError("no keeper has told yet which copies it holds: it looks every two minutes")
        found: dict[str, Any] = json.loads(json.loads(text)["data"]["copies"])
        return found

    def retire(self, digest: str, by: str, why: str) -> str:
        """Ask for it; returns what was asked."""
        asked = json.dumps({"digest": digest, "by": by, "why": why, "sure": digest}, sort_keys=True)
        metadata = {"name": _asks(digest), "namespace": self._namespace, "labels": {ASKS: short(digest)}}
        item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {ASKED: asked}}
        self._ask("delete", "configmap", _asks(digest), "--ignore-not-found", "--wait=true")
        self._ask("create", "-f", "-", stdin=json.dumps(item))
        return asked

    def answer(self, digest: str) -> str:
        """What a keeper says to it; "": nothing yet."""
        found = json.loads(self._ask("get", "configmap", _asks(digest), "--output=json"))
        return str(json.loads(found["data"].get(ANSWERED, "{}")).get("said", ""))


def _asks(digest: str) -> str:
    return f"retire-{short(digest)}"


def listed(copies: Copies, told: argparse.Namespace) -> Iterator[str]:
    """Copies, or obsolete versions."""
    found = copies.told()
    if told.held:
        each = [*found["copies"], *found["going"]]
        yield f"{len(each)} copies, {_size(sum(one['size'] for one in each))}"
        yield from (_line(one) for one in found["copies"])
        yield from (_going(one) for one in found["going"])
    if told.obsolete:
        yield from _obsolete(found["obsolete"])


def _obsolete(found: Mapping[str, Any] | None) -> Iterator[str]:
    if found is None:
        yield "No version is obsolete here: obsolete_days of apadana:models: is not set."
        return
    kept = f"in no release, under no alias, and older than {found['days']} days"
    yield f"{len(found['versions'])} versions are {kept}" if found["versions"] else f"No version is {kept}."
    yield from found["versions"]


def of_release(copies: Copies, name: str) -> Iterator[str]:
    """For `explain`: the copies that it answered by."""
    try:
        found = copies.told()
    except ModelsError:
        return
    for one in found["copies"]:
        if name in one["releases"] or f"release {name}" in one["named"]:
            yield f"held      {_line(one)}"


def _line(one: Mapping[str, Any]) -> str:
    return f"{_named(one)}: {_when(one)}"


def _named(one: Mapping[str, Any]) -> str:
    known = ", ".join(one["references"]) or "not known as which version of the registry"
    return f"{one['digest']} ({known}) {_size(one['size'])}"


def _when(one: Mapping[str, Any]) -> str:
    if stays := [*one["named"], *one["kept"]]:
        return f"stays: {', '.join(stays)}"
    if one["goes"] is None:
        return "stays: copies_days of apadana:models: is null"
    return f"named by nothing, goes after {dt.datetime.fromtimestamp(one['goes'], dt.UTC):%Y-%m-%d %H:%M} UTC"


def _going(one: Mapping[str, Any]) -> str:
    return f"{_named(one)}: goes now, by {one['by']}: {one['why']}"


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < KIB:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= KIB
    return f"{count:.1f} GiB"


def release(wishes: Wishes, told: argparse.Namespace, days: int | None) -> Iterator[str]:
    """Take a release away."""
    item = wishes.all().get(told.name)
    if item is None:
        raise ModelsError(f"there is no release {told.name!r}: `list` shows which there are")
    wishes.delete(item)
    stays = "for ever" if days is None else f"for {days} days, later it comes from the registry once more"
    yield f"{told.name}: retired; its versions' digests bring them back from the bucket {stays}"


def copy(copies: Copies, told: argparse.Namespace) -> Iterator[str]:
    """One copy: what goes is told first; with its digest as the confirmation it is asked for."""
    one = _found(copies.told(), told)
    digest, known = one["digest"], ", ".join(one["references"])
    if one["named"]:
        raise ModelsError(f"{digest} stays: it is named by {', '.join(one['named'])}; take it from there first")
    if known and LOST not in one["kept"]:
        back = f"its digest alone brings it back only as long as the registry has {known}"
    else:
        back = "THIS IS THE LAST COPY: nothing brings it back, the registry does not have it"
    yield f"{digest}: {_size(one['size'])} go from the bucket; {back}"
    yield "a batch that reads this copy now fails, and has to be begun anew; no release, pod or alias names it"
    if not told.confirm:
        raise ModelsError(f"nothing was done; if that is meant: retire {told.name} {told.version} --confirm {digest}")
    if told.confirm != digest:
        raise ModelsError(f"--confirm is {told.confirm!r}; allowed: {digest}. Nothing was done")
    copies.retire(digest, told.by or getpass.getuser(), told.why)
    yield f"{digest}: asked for; a keeper looks every two minutes"


def answered(copies: Copies, told: argparse.Namespace) -> Callable[[], str]:
    """For waiting: until the copy is gone. Raises ModelsError where a keeper refuses it."""

    def look() -> str:
        said = copies.answer(told.confirm)
        if said.startswith("refused"):
            raise ModelsError(f"{told.confirm}: {said}")
        found = copies.told()
        there = any(each["digest"] == told.confirm for each in (*found["copies"], *found["going"]))
        return "" if said and not there else said or "a keeper has not seen it yet"

    return look


def _found(found: Mapping[str, Any], told: argparse.Namespace) -> Mapping[str, Any]:
    of = [one for one in found["copies"] if told.version == one["digest"] or told.version in one["references"]]
    if not of:
        form = "" if DIGEST.fullmatch(told.version) else " as a version that it was copied as"
        raise ModelsError(f"no copy of {told.version} is held{form}: `list --held` shows which there are")
    if len(of) > 1:
        digests = ", ".join(one["digest"] for one in of)
        raise ModelsError(f"{told.version} was copied as {digests}; say which one by its digest")
    one: Mapping[str, Any] = of[0]
    if one["releases"] and told.name not in one["releases"]:
        whose = ", ".join(one["releases"])
        raise ModelsError(f"{told.version} never answered for the release {told.name!r}; it did for: {whose}")
    return one
