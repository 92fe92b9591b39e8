"""`python -m stacks.batch SITE NAME[@VERSION] --from WHERE --to WHERE`: many questions at once, as a job.

    batch lab iris --from s3://batch/questions --to s3://batch/answers
    batch lab iris --from table:patients --to table:risks --key patient --columns age,weight --run

NAME is a release; its version is the one that answers now, and its floor holds. NAME@VERSION is another one:
`sha256:<64 digits>`, which needs no release of that name, or `models:/<name>/<version>` as the release names it.

WHERE is a folder of files *.csv (names in the first line) or *.jsonl (an object a line), or a table or view of the
database `batch`. Answers are files or a table of the same kinds.

It prints a Job as YAML, for `kubectl create`; with --run it makes it and waits for its end. The same command again
goes on where a job was that failed, and changes nothing where one is done.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import yaml

from common.errors import Refusal
from common.places import Places
from components.kit import manifest as bundle
from components.kit.mistakes import SiteError
from components.kit.settings import Mode, SiteFacts
from components.kserve import batch, settings
from components.kserve.image.server.wished import DIGEST, Wish, wrong
from components.models.keeper.following import effective
from components.models.keeper.wish import STATE, WISH, BadWishError, read
from stacks.composition import compose
from stacks.jobs import DONE, RUNS, JobError, Jobs
from stacks.wishes import Wishes

LOOK_SECONDS = 2.0
NONE = "none"
UNKNOWN = f"sha256:{'0' * 64}"  # where another mistake says that there is none


class BatchError(Refusal):
    """A batch can't be made as it was asked for: every mistake."""


def release(item: Mapping[str, Any], name: str, version: str) -> tuple[str, float | None]:
    """Digest and floor of a release's version; "": the one that answers. Raises BatchError."""
    try:
        wished = effective(item, read(item["data"].get(WISH, ""), name))
    except BadWishError as error:
        raise BatchError(f"the release {name} is refused: {error}") from None
    known = json.loads(item["data"].get(STATE, "{}")).get("versions", {})
    asked = version or wished.stable
    if DIGEST.fullmatch(asked):
        return asked, wished.floor
    if asked not in known:
        there = ", ".join(sorted(known)) or "none yet"
        raise BatchError(f"version is {asked!r}; allowed: one that {name} has ({there}), or sha256:<64 digits>")
    return str(known[asked]["digest"]), wished.floor


def version(name: str, asked: str, releases: Mapping[str, Mapping[str, Any]]) -> tuple[str, float | None]:
    """Digest and floor. Raises BatchError where nobody knows such a version."""
    if name in releases:
        return release(releases[name], name, asked)
    if not DIGEST.fullmatch(asked):
        there = ", ".join(sorted(releases)) or "none yet"
        raise BatchError(
            f"there is no release {name[:100]!r}; allowed: one of the site's ({there}), or NAME@sha256:<64 digits>"
        )
    return asked, None


def wish(told: argparse.Namespace, digest: str, floor: float | None) -> Wish:
    """What the command line asks for, of this version; `floor`: of its release."""
    name = told.name.partition("@")[0]
    if told.floor is not None:
        floor = None if told.floor == NONE else told.floor
    columns = tuple(told.columns.split(",")) if told.columns else ()
    found = Wish(name, digest, told.source, told.target, told.key, columns, told.texts, floor)
    return replace(found, chunk=told.chunk) if told.chunk is not None else found


def made(told: argparse.Namespace, releases: Mapping[str, Mapping[str, Any]], house: batch.House) -> dict[str, Any]:
    """The Job. `releases` by their names. Raises BatchError with every mistake."""
    name, _, asked = told.name.partition("@")
    mistakes, found = [], wish(told, UNKNOWN, None)
    try:
        found = wish(told, *version(name, asked, releases))
    except BatchError as error:
        mistakes.append(str(error))
    if mistakes := [*mistakes, *wrong(found), *house.wrong(found)]:
        raise BatchError("this batch can't be run:\n" + "\n".join(f"  {line}" for line in mistakes))
    return batch.job(found, house)


def ran(jobs: Jobs, job: Mapping[str, Any], wait: float) -> Iterator[str]:
    """Begin it, and say what it says until it ends. Raises JobError where it failed, or did not end in time."""
    name, end = job["metadata"]["name"], time.monotonic() + wait
    yield f"{name}: {'begun' if jobs.begin(job) else 'there already'}"
    last = ""
    while True:
        state = jobs.state(name)
        if state is None:
            raise JobError(f"{name} was taken away")
        if state.phase == DONE:
            yield state.said
            return
        if state.phase != RUNS:
            raise JobError(f"{name} failed: {state.said}\nThe same command again goes on after the last whole chunk.")
        if time.monotonic() > end:
            raise JobError(f"{name} still runs after {wait:g} s, and goes on; it says: {state.said}")
        if state.said != last:
            last = state.said
            yield f"{name}: {last}"
        time.sleep(LOOK_SECONDS)


def floor(text: str) -> float | str:
    """As it is typed; which numbers are allowed the wish says."""
    return text if text == NONE else float(text)


def typed(argv: list[str] | None) -> argparse.Namespace:
    """A command line; None: this process's own."""
    text = (__doc__ or "").partition("\n\n")
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="batch", description=text[0], epilog=text[2], formatter_class=form)
    parser.add_argument("site")
    parser.add_argument("name", metavar="NAME[@VERSION]")
    parser.add_argument("--from", dest="source", required=True, metavar="WHERE")
    parser.add_argument("--to", dest="target", required=True, metavar="WHERE")
    parser.add_argument("--key", default="id", help="the column that names a question; left out: id")
    parser.add_argument(
        "--columns", default="", help="a,b,c: what the model is asked, in its order; left out: all others"
    )
    parser.add_argument("--texts", action="store_true", help="the one column is text; left out: all are numbers")
    parser.add_argument("--floor", type=floor, help=f"as of a release; {NONE}: none; left out: the release's")
    parser.add_argument("--chunk", type=int, help=f"rows that are written at once; left out: {Wish.chunk}")
    parser.add_argument("--run", action="store_true", help="make it, and wait for its end")
    parser.add_argument("--wait", type=float, metavar="SECONDS", help="with --run; left out: as long as it may take")
    return parser.parse_args(argv)


def here(told: argparse.Namespace) -> tuple[SiteFacts, settings.Settings]:
    """The site and its room. Raises Refusal where it has none."""
    site = compose(told.site).facts(bundle.read(Places.of(told.site).bundle).images)
    room = site.rooms.get(settings.ROOM)
    if not isinstance(room, settings.Settings) or room.mode is not Mode.MANAGED:
        raise SiteError(f"the room kserve is off on {told.site}; switch it on in stacks/Pulumi.{told.site}-ml.yaml")
    return site, room


def lines(told: argparse.Namespace) -> Iterator[str]:
    """What is printed."""
    site, room = here(told)
    places, house = Places.of(told.site), batch.house(room, site)
    # A digest to print needs no cluster.
    offline = DIGEST.fullmatch(told.name.partition("@")[2]) and (told.floor is not None) and not told.run
    job = made(told, {} if offline else Wishes(places, site.work).all(), house)
    if not told.run:
        yield yaml.safe_dump(job, sort_keys=False).rstrip()
        return
    yield from ran(Jobs(places, site.work), job, house.longest_s if told.wait is None else told.wait)


def main(argv: list[str] | None = None) -> int:
    """Print it, or run it."""
    told = typed(argv)
    try:
        for line in lines(told):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
    except (Refusal, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
