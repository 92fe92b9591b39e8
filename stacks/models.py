"""`python -m stacks.models SITE ...`: which version of a model answers, and which one is tried.

    list                                      every release; `--held`: copies in the bucket; `--obsolete`: old versions
    explain  NAME                             what one is, what it waits for, where it answers
    deploy   NAME VERSION [--why TEXT]        serve this version, and this one alone
    deploy   NAME VERSION --most 6            the same, with up to so many pods of a version under load
    deploy   NAME VERSION --least 0           the same, without pods if nobody asked for 15 minutes (`--quiet MINUTES`)
    deploy   NAME VERSION --floor 0.8         rows of which it is less sure get no label; `--floor none`: all get one
    deploy   NAME VERSION --beside OTHER=VERSION   the model OTHER shares its pods; `--beside none`: nobody does
    deploy   NAME VERSION --fall-back VERSION   a light one answers what this one answers wrongly or too late; `none`
    deploy   NAME VERSION --missing default   features that nobody knows: defaults stand in; `refuse`: no answer
    canary   NAME VERSION [--percent 10]      the candidate answers so many of a hundred; with `--judge`, ever more
    shadow   NAME VERSION [--percent 10]      the candidate gets copies; nobody sees its answers
    shadow   NAME VERSION --judge             its answers are compared with the stable's; it passes, or ends
    promote  NAME                             the candidate becomes the one that answers
    rollback NAME                             without the candidate; without one: the version before
    follow   NAME ALIAS                       each version that the alias comes to name is tried and judged
    retire   NAME                             nothing of it is left but the copies of its versions, for a while
    retire   NAME VERSION --confirm DIGEST    the copy of one version that nothing names goes now

VERSION is `models:/<name>/<version>`, `models:/<name>@<alias>`, or the digest `sha256:...` of one that
was promoted before. Nothing is made here: a command writes the wish, a ConfigMap in the namespace of
predictors, and the keepers of the room `models` make it true. The same ConfigMap may come from Git
(`--print` shows it). `--wait SECONDS` waits until it is true, and says what it waits for.
"""

from __future__ import annotations

import argparse
import getpass
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from common.errors import Refusal
from common.places import Places
from components.kit.mistakes import SiteError
from components.kit.settings import SiteFacts
from components.kit.webs import present
from components.models.judge.words import Phase
from components.models.keeper.declared import REFUSE, WAYS
from components.models.keeper.following import effective
from components.models.keeper.judging import stored
from components.models.keeper.wish import (
    CANARY,
    DISAGREE,
    LONGEST_QUIET,
    SERVE,
    SHADOW,
    WISH,
    BadWishError,
    Wish,
    alone,
    checked,
    promoted,
    rolled_back,
)
from components.models.settings import ROOM
from stacks import retiring
from stacks.composition import compose
from stacks.retiring import Copies
from stacks.telling import explained, listed, now, said, state_of
from stacks.typed import NONE, beside, floor, once
from stacks.wishes import ModelsError, Wishes

LOOK_SECONDS = 1.0
DEFAULT_PERCENT = 10
DEFAULT_QUIET = 15  # minutes
Change = Callable[[Wish | None, argparse.Namespace], Wish]
Verb = Callable[[Copies, argparse.Namespace], Iterator[str]]


def deploy(before: Wish | None, told: argparse.Namespace) -> Wish:
    """One version alone; the one that answered before is where a rollback leads. Floor, growth, sleep and fall-back
    stay, and what is beside it, where nothing is said of them."""
    previous, floor, most, beside, back = "", told.floor, told.most, told.beside, told.fall_back
    missing = told.missing or (before.missing if before else REFUSE)
    if before is not None:
        previous = before.stable if before.stable != told.version else before.previous
        floor = before.floor if floor is None else floor
        most = before.most if most is None else most
        back = before.fall_back if back is None else back
        beside = list(before.beside.items()) if beside is None else beside
    named = once([each for each in beside or () if each[0] != NONE])
    floor = None if floor == NONE else floor
    wish = Wish(told.name, told.version, SERVE, most=most or 0, floor=floor, beside=named, previous=previous)
    return replace(wish, fall_back="" if back in (None, NONE) else back, missing=missing, quiet=_quiet(before, told))


def _quiet(before: Wish | None, told: argparse.Namespace) -> int:
    """Minutes without a question after which it sleeps; 0: it does not."""
    quiet = before.quiet if before is not None else 0
    quiet = quiet if told.least is None else 0 if told.least == NONE else quiet or DEFAULT_QUIET
    if told.quiet is None:
        return quiet
    if not quiet:
        raise ModelsError(f"--quiet {told.quiet} for a release that always has pods; allowed: with --least 0")
    if told.quiet < 1:
        raise ModelsError(f"--quiet is {told.quiet}; allowed: 1 to {LONGEST_QUIET} minutes; --least {NONE} ends it")
    return int(told.quiet)


def canary(before: Wish | None, told: argparse.Namespace) -> Wish:
    """Beside the one that answers."""
    if told.judge and told.percent is not None:
        raise ModelsError(f"--percent {told.percent} with --judge; allowed: one of them, the judge says how many")
    percent = 0 if told.judge else DEFAULT_PERCENT if told.percent is None else told.percent
    return replace(_tried(before, told), mode=CANARY, percent=percent, judge=told.judge)


def shadow(before: Wish | None, told: argparse.Namespace) -> Wish:
    """Behind the one that answers."""
    percent = DEFAULT_PERCENT if told.percent is None else told.percent
    disagree = DISAGREE if told.disagree is None else told.disagree
    judged = {"judge": told.judge, "disagree": disagree, "then": CANARY if told.then_canary else ""}
    return replace(_tried(before, told), mode=SHADOW, percent=percent, **judged)


def promote(before: Wish | None, told: argparse.Namespace) -> Wish:
    """The candidate alone."""
    return promoted(_there(before, told))


def rollback(before: Wish | None, told: argparse.Namespace) -> Wish:
    """Without the candidate, or one version back."""
    return rolled_back(_there(before, told))


def follow(before: Wish | None, told: argparse.Namespace) -> Wish:
    """From the version that answers now on. Whatever else is wished for later ends it."""
    return replace(_there(before, told), follow=told.alias)


CHANGES: dict[str, Change] = {
    "deploy": deploy,
    "canary": canary,
    "shadow": shadow,
    "promote": promote,
    "rollback": rollback,
    "follow": follow,
}


def _there(before: Wish | None, told: argparse.Namespace) -> Wish:
    if before is None:
        raise ModelsError(f"there is no release {told.name!r}; make one: deploy {told.name} models:/<name>/<version>")
    return before


def _tried(before: Wish | None, told: argparse.Namespace) -> Wish:
    """Another candidate: what was said of the last one is no part of it."""
    return replace(alone(_there(before, told)), candidate=told.version)


def change(wishes: Wishes, told: argparse.Namespace) -> Iterator[str]:
    """Write a wish."""
    item = wishes.all().get(told.name)
    before = now(item, told.name) if item else None
    if item and before and told.verb in (CANARY, SHADOW):
        _promoted_first(before, item)
    by = told.by or getpass.getuser()
    wish = checked(replace(CHANGES[told.verb](before, told), by=by, why=told.why))
    if told.print:
        shown = wishes.object(wish, item)
        shown["metadata"].pop("resourceVersion", None)
        shown["data"] = {WISH: wish.text()}
        yield json.dumps(shown, indent=2)
        return
    wishes.write(wish, item)
    yield f"{wish.name}: {said(wish)}"
    if told.wait:
        yield _awaited(told, lambda: _done(wishes, wish))


def _promoted_first(before: Wish, item: Mapping[str, Any]) -> None:
    """What the judge promoted answers alone, and the wish still calls it a candidate: another one would end it."""
    if before.judge and stored(item).phase is Phase.PROMOTED:
        raise ModelsError(
            f"{before.name}: the judge promoted {before.candidate}, and another candidate would take its place; first:"
            f" promote {before.name} (or rollback {before.name})"
        )


def retired(site: SiteFacts) -> Verb:
    """A release, or one copy."""

    def retire(wishes: Copies, told: argparse.Namespace) -> Iterator[str]:
        if told.version:
            yield from retiring.copy(wishes, told)
            look = retiring.answered(wishes, told)
        else:
            yield from retiring.release(wishes, told, getattr(site.rooms[ROOM], "copies_days", None))
            look = partial(_left, wishes, told.name)
        if told.wait:
            yield _awaited(told, look)

    return retire


def _left(wishes: Wishes, name: str) -> str:
    return "; ".join(wishes.left(name))


def _done(wishes: Wishes, wish: Wish) -> str:
    """ "" when the wish is true, else why not."""
    item = wishes.all().get(wish.name)
    if item is None:
        raise ModelsError(f"{wish.name} was retired meanwhile")
    state = state_of(item)
    if state.get("phase") == "refused":
        raise ModelsError(f"{wish.name} is refused: {'; '.join(state['why'])}")
    wanted = effective(item, wish)
    if state.get("wish") == wanted.text() and state.get("phase") == wanted.mode:
        return ""
    return "; ".join(state.get("why", [])) or "a keeper has not seen it yet"


def _awaited(told: argparse.Namespace, look: Callable[[], str]) -> str:
    end, started = time.monotonic() + told.wait, time.monotonic()
    while waits := look():
        if time.monotonic() > end:
            raise ModelsError(f"{told.name}: not true after {told.wait} s, it waits: {waits}")
        time.sleep(LOOK_SECONDS)
    return f"{told.name}: so it is, after {time.monotonic() - started:.0f} s"


def _served(parser: argparse.ArgumentParser) -> None:
    """Of `deploy`: what the version is served with."""
    words = "pods of a version under load; 0: as many as ever; left out: as before"
    parser.add_argument("--most", type=int, help=words)
    words = f"0: no pods while nobody asks, and the next question starts them; {NONE}: it always has pods; "
    parser.add_argument("--least", choices=("0", NONE), help=words + "left out: as before")
    words = f"minutes without a question after which it has no pods; {DEFAULT_QUIET} with --least 0"
    parser.add_argument("--quiet", type=int, metavar="MINUTES", help=words)
    words = f"rows less sure than this, 0 to 1, get no label; {NONE}: no floor; left out: as before"
    parser.add_argument("--floor", type=floor, help=words)
    words = f"NAME=VERSION of a model that shares its pods, once for each; {NONE}: nobody; left out: as before"
    parser.add_argument("--beside", type=beside, action="append", help=words)
    parser.add_argument("--missing", choices=WAYS, help="left out: as before")
    words = f"a light version that answers what the others answer wrongly or too late; {NONE}: no version; "
    parser.add_argument("--fall-back", metavar="VERSION", help=words + "left out: as before")


def typed(argv: list[str] | None) -> argparse.Namespace:
    """A command line; None: this process's own."""
    text = (__doc__ or "").partition("\n\n")
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=text[0], epilog=text[2], formatter_class=form)
    parser.add_argument("site")
    verbs = parser.add_subparsers(dest="verb", required=True)
    retiring.arguments(verbs.add_parser("list"), "list")
    verbs.add_parser("explain").add_argument("name")
    for verb in (*CHANGES, "retire"):
        each = verbs.add_parser(verb)
        each.add_argument("name")
        if verb in ("deploy", "canary", "shadow"):
            each.add_argument("version")
        if verb == "follow":
            each.add_argument("alias", help="models:/<name>@<alias>")
        if verb == "deploy":
            _served(each)
        if verb in ("canary", "shadow"):
            each.add_argument("--percent", type=int, help=f"left out: {DEFAULT_PERCENT}")
            each.add_argument("--judge", action="store_true", help="widen it, or take it back, by what its pods count")
        if verb == "shadow":
            words = f"percent of the answers that may differ from the stable's; left out: {DISAGREE}"
            each.add_argument("--disagree", type=int, help=words)
            each.add_argument("--then-canary", action="store_true", help="a shadow that passed goes on as a canary")
        if verb == "retire":
            retiring.arguments(each, verb)
        else:
            each.add_argument("--why", default="", help="stands in the record")
            each.add_argument("--by", default="", help="who wishes it; left out: the user of this machine")
            each.add_argument("--print", action="store_true", help="show the object instead of writing it")
        each.add_argument("--wait", type=int, default=0, metavar="SECONDS")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """One verb."""
    told = typed(argv)
    try:
        loaded = compose(told.site)
        site = loaded.facts({})
        if present(ROOM, site) is None:
            raise SiteError(f"site {told.site} has no room {ROOM}")
        wishes = Copies(Places.of(told.site), site.work)
        verbs: dict[str, Verb] = {"list": listed, "explain": explained(site), "retire": retired(site)}
        for line in verbs.get(told.verb, change)(wishes, told):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    except (Refusal, BadWishError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
