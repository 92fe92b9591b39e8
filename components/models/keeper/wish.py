"""What a person or Git wants of one release. Pure.

One ConfigMap in the namespace of predictors for each release, with the label `LABEL: <name>`:

    data.wish     JSON of a Wish: written by the command or from Git, never by the keeper
    data.state    JSON: what became of it, written by the keeper alone
    data.followed  JSON: what following an alias has made of the wish, written by the keeper alone
    data.judgement  JSON: what is known of a candidate that is judged, written by the keeper alone
    data.asked    JSON: which sleep of the release a question ends, written by whoever holds it (waking.py)

A version of a model is named `models:/<name>/<version>` or `models:/<name>@<alias>` in the registry,
or by its digest, `sha256:<64 hexadecimal digits>`, once it was promoted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any

from components.models.keeper.declared import REFUSE, WAYS

LABEL = "apadana.io/release"
WISH, STATE = "wish", "state"
SERVE, CANARY, SHADOW = "serve", "canary", "shadow"
MODES = (SERVE, CANARY, SHADOW)
#: With `-<ten digits>-predictor` behind it, it is the name of a Service: 63 letters.
NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
MODEL = re.compile(r"models:/([A-Za-z0-9][A-Za-z0-9 ._-]{0,199})(?:/([0-9]{1,9})|@([A-Za-z0-9_.-]{1,100}))")
REFERENCE = "models:/<name>/<version>, models:/<name>@<alias> or sha256:<64 hexadecimal digits>"
LONGEST = 300
#: Percent of a shadow's answers that may differ from the stable's, where the wish does not say.
DISAGREE = 1
MOST_DISAGREE = 50
MOST_PODS = 50  # of one version
LONGEST_QUIET = 7 * 24 * 60  # minutes
#: Models beside a release's own in its pods.
MOST_BESIDE = 15
#: Keys that are stored whatever they hold.
ALWAYS = ("name", "stable", "mode", "percent")
SAID: dict[type, str] = {int: "a number", bool: "true or false", str: "text", float: "a number from 0 to 1"} | {
    dict: "versions by the names of their models"
}


class BadWishError(Exception):
    """A wish that can't be met: every mistake in it, one a line."""


@dataclass(frozen=True)
class Wish:
    """One release. `percent` of the requests are answered by the candidate (canary) or copied to it (shadow).

    With `judge` the share of a canary grows by itself, or ends, and so do the copies of a shadow: it ends if more
    than `disagree` percent of its answers differ from the stable's. `then: canary`: a shadow that passed goes on.

    With `follow` the versions that an alias of the registry names are tried one after the other, and judged.

    Under load each version grows up to `most` pods, and back; 0, or fewer than the site's `replicas`: it never grows.
    With `floor` no version answers a row by a label that it gives a lower probability: it says that it is not sure.
    `missing` says what becomes of a question about features that nobody knows: it is refused, or defaults stand in.
    `beside`: versions by the names that they answer to, of models that share the pods of this one.
    `fall_back`: a light version that answers what the others answer wrongly, or too late.
    `quiet`: minutes without a question after which it has no pods; the next question starts them. 0: it always has.
    """

    name: str
    stable: str
    mode: str = SERVE
    candidate: str = ""
    percent: int = 0
    judge: bool = False
    disagree: int = DISAGREE
    then: str = ""
    most: int = 0
    follow: str = ""
    floor: float | None = None
    missing: str = REFUSE
    beside: Mapping[str, str] = field(default_factory=dict)
    fall_back: str = ""
    quiet: int = 0
    previous: str = ""  # the stable version before this one: where a rollback leads
    by: str = ""
    why: str = ""

    def text(self) -> str:
        """As it is stored."""
        usual = {each.name: _usual(each) for each in fields(self) if each.name not in ALWAYS}
        return json.dumps({k: v for k, v in asdict(self).items() if k not in usual or v != usual[k]}, sort_keys=True)

    def references(self) -> tuple[str, ...]:
        """The versions that have pods."""
        return tuple(dict.fromkeys(ref for ref in (self.stable, self.candidate, self.fall_back) if ref))

    def all(self) -> tuple[str, ...]:
        """The versions that have pods, and those that are in them."""
        return tuple(dict.fromkeys((*self.references(), *self.beside.values())))

    def pinned(self, digests: Mapping[str, str]) -> Wish:
        """With digests in place of what is beside it."""
        return replace(self, beside={name: digests[ref] for name, ref in self.beside.items()})

    def shares(self) -> dict[str, int]:
        """Of each version, how many of a hundred requests it answers."""
        if self.mode != CANARY or self.candidate == self.stable:
            return {self.stable: 100}
        return {self.stable: 100 - self.percent, self.candidate: self.percent}


def _usual(key: Any) -> Any:
    return key.default if key.default is not MISSING else key.default_factory()


def wrong(wish: Wish) -> Iterator[str]:
    """Every mistake of a wish: what is wrong, what was seen, what is allowed."""
    if not NAME.fullmatch(wish.name):
        yield f"name is {wish.name!r}; allowed: 1 to 40 lower-case letters, digits and -, a letter first"
    if wish.mode not in MODES:
        yield f"mode is {wish.mode!r}; allowed: {', '.join(MODES)}"
    for key, value in (("stable", wish.stable), ("candidate", wish.candidate), ("previous", wish.previous)):
        if (value or key == "stable") and not (DIGEST.fullmatch(value) or MODEL.fullmatch(value)):
            yield f"{key} is {value[:LONGEST]!r}; allowed: {REFERENCE}"
    if wish.mode == SERVE and wish.candidate:
        yield f"candidate is {wish.candidate!r} with mode serve; allowed: none, or mode canary or shadow"
    if wish.mode in (CANARY, SHADOW) and not wish.candidate:
        yield f"candidate is missing; mode {wish.mode} is about one"
    yield from _not_beside(wish)
    yield from _no_fall_back(wish) if wish.fall_back else ()
    yield from _no_share(wish)
    yield from _no_number(wish)
    yield from _not_to_be_judged(wish) if wish.judge else _only_judged(wish)
    yield from _not_to_be_followed(wish) if wish.follow else ()
    for key, value in (("by", wish.by), ("why", wish.why)):
        if len(value) > LONGEST or not value.isprintable():
            yield f"{key} has {len(value)} letters; allowed: one line of at most {LONGEST}"


def _no_number(wish: Wish) -> Iterator[str]:
    if wish.floor is not None and not 0 <= wish.floor <= 1:  # NaN, too
        yield f"floor is {str(wish.floor)[:LONGEST]}; allowed: 0 to 1, or left out"
    if wish.missing not in WAYS:
        yield f"missing is {wish.missing[:LONGEST]!r}; allowed: {' or '.join(WAYS)}"
    if not 0 <= wish.most <= MOST_PODS:
        yield f"most is {wish.most}; allowed: 0 (it does not grow) to {MOST_PODS} pods of a version"
    if not 0 <= wish.quiet <= LONGEST_QUIET:
        yield f"quiet is {wish.quiet}; allowed: 0 (it always has pods) to {LONGEST_QUIET} minutes"


def _not_beside(wish: Wish) -> Iterator[str]:
    if len(wish.beside) > MOST_BESIDE:
        yield f"beside has {len(wish.beside)} models; allowed: at most {MOST_BESIDE} in the pods of another one"
    for name, ref in wish.beside.items():
        if not NAME.fullmatch(name) or name == wish.name:
            yield f"beside has {name[:LONGEST]!r}; allowed: names as a release's, and not its own"
        if not (DIGEST.fullmatch(ref) or MODEL.fullmatch(ref)):
            yield f"beside has {ref[:LONGEST]!r} as {name[:LONGEST]!r}; allowed: {REFERENCE}"


def _no_fall_back(wish: Wish) -> Iterator[str]:
    if not (DIGEST.fullmatch(wish.fall_back) or MODEL.fullmatch(wish.fall_back)):
        yield f"fall_back is {wish.fall_back[:LONGEST]!r}; allowed: {REFERENCE}"
    for key, value in (("stable", wish.stable), ("candidate", wish.candidate)):
        if wish.fall_back == value:
            yield f"fall_back is {value[:LONGEST]!r}, and so is {key}; allowed: one that does not break with it"
    if wish.beside:
        yield f"fall_back is {wish.fall_back[:LONGEST]!r} with beside; allowed: one of them, a try's time holds for all"
    if wish.quiet:
        yield f"fall_back is {wish.fall_back[:LONGEST]!r} with quiet; allowed: one of them, what sleeps is late"


def _no_share(wish: Wish) -> Iterator[str]:
    if wish.mode == CANARY and wish.judge:
        if wish.percent:
            yield f"percent is {wish.percent} with judge; allowed: none, the judge says how many"
    elif wish.mode in (CANARY, SHADOW) and not 1 <= wish.percent <= 100:
        yield f"percent is {wish.percent}; allowed: 1 to 100"


def _not_to_be_judged(wish: Wish) -> Iterator[str]:
    if wish.mode not in (CANARY, SHADOW):
        yield f"judge is true with mode {wish.mode}; allowed: with mode canary or shadow"
    if wish.candidate and wish.candidate == wish.stable:
        yield f"candidate is {wish.candidate!r}, and so is stable; allowed with judge: another version"
    if wish.mode != SHADOW:
        yield from _only_judged(wish)
        return
    if not 1 <= wish.disagree <= MOST_DISAGREE:
        yield f"disagree is {wish.disagree}; allowed: 1 to {MOST_DISAGREE} percent"
    if wish.then not in ("", CANARY):
        yield f"then is {wish.then[:LONGEST]!r}; allowed: {CANARY}, or left out"


def _not_to_be_followed(wish: Wish) -> Iterator[str]:
    found = MODEL.fullmatch(wish.follow)
    if found is None or found[3] is None:
        yield f"follow is {wish.follow[:LONGEST]!r}; allowed: models:/<name>@<alias>"
    if wish.mode != SERVE:
        yield f"follow is {wish.follow[:LONGEST]!r} with mode {wish.mode}; allowed: with mode {SERVE}"


def _only_judged(wish: Wish) -> Iterator[str]:
    """What is said of a judged shadow alone."""
    for key, value, usual in (("disagree", wish.disagree, DISAGREE), ("then", wish.then, "")):
        if value != usual:
            yield f"{key} is {value!r}; allowed: with mode shadow and judge true, or left out"


def checked(wish: Wish) -> Wish:
    """The same. Raises BadWishError with all mistakes."""
    if found := list(wrong(wish)):
        raise BadWishError("\n".join(found))
    return wish


def read(text: str, name: str | None = None) -> Wish:
    """What is stored. `name`: of its ConfigMap's label. Raises BadWishError."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise BadWishError(f"wish is no JSON: {error}") from None
    if not isinstance(found, Mapping):
        raise BadWishError(f"wish is {type(found).__name__}; allowed: an object of JSON")
    wish = _made(found)
    if name is not None and wish.name != name:
        raise BadWishError(f"name is {wish.name!r}, and the label {LABEL} says {name!r}: they have to be the same")
    checked(wish)
    return wish if wish.floor is None else replace(wish, floor=float(wish.floor))  # 1 is 1.0


def _made(found: Mapping[str, Any]) -> Wish:
    words = ("name", "stable", "mode", "candidate", "then", "follow", "fall_back", "missing", "previous", "by", "why")
    texts = dict.fromkeys(words, str)
    numbers: dict[str, type] = {"percent": int, "disagree": int, "most": int, "quiet": int, "floor": float}
    kinds = numbers | {"judge": bool, "beside": dict} | texts
    mistakes = [f"{key} is not known; allowed: {', '.join(sorted(kinds))}" for key in found.keys() - kinds.keys()]
    mistakes += [
        f"{key} is {value!r}; allowed: {SAID[kinds[key]]}"
        for key, value in found.items()
        if key in kinds and not _is(value, kinds[key])
    ]
    mistakes += [f"{key} is missing" for key in ("name", "stable") if key not in found]
    if mistakes:
        raise BadWishError("\n".join(sorted(mistakes)))
    return Wish(**found)


def _is(value: Any, kind: type) -> bool:
    """JSON's true is no number, and its 1 is one of any kind."""
    if kind is dict:
        return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
    return type(value) is kind or (kind is float and type(value) is int)


def promoted(wish: Wish) -> Wish:
    """The candidate alone."""
    if not wish.candidate:
        raise BadWishError(f"{wish.name} has no candidate; give it one by canary or shadow")
    return replace(alone(wish), stable=wish.candidate, previous=wish.stable)


def rolled_back(wish: Wish) -> Wish:
    """Without its candidate; one that has none goes back to the version before."""
    if wish.candidate:
        return alone(wish)
    if not wish.previous:
        raise BadWishError(f"{wish.name} has neither a candidate nor an earlier version: nothing to go back to")
    return replace(wish, stable=wish.previous, previous=wish.stable)


def alone(wish: Wish) -> Wish:
    """The stable, and nothing that is tried."""
    return replace(wish, mode=SERVE, candidate="", percent=0, judge=False, disagree=DISAGREE, then="")
