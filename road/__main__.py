"""python -m road --site NAME up|down|status|unlock"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence

from common.errors import Refusal
from components.kit import surroundings
from road import lock, orphans, progress, running, status, steps, strange
from road.console import complain, say
from road.place import Place, place
from road.work import Step, StepFailed, Work

REFUSED = 3
PEACE = "Nothing is left running; `make {}` goes on from here."


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m road", description="The driver of make up.")
    parser.add_argument("--site", default="lab", help="folder of inventories/ (default: lab)")
    parser.add_argument("verb", choices=["up", "down", "status", "unlock"])
    chosen = parser.parse_args(argv)
    running.end_with_make()
    os.umask(surroundings.UMASK)
    verbs = {"up": up, "down": down, "status": status.show, "unlock": unlock}
    try:
        where = place(chosen.site)
        strange.refuse(where)
        return verbs[chosen.verb](where)
    except Refusal as error:
        complain(str(error))
        return REFUSED
    except running.Interrupted as interrupted:
        say(f"interrupted ({interrupted}). {PEACE.format(chosen.verb)}")
        return 128 + interrupted.number
    except KeyboardInterrupt:
        say(f"interrupted. {PEACE.format(chosen.verb)}")
        return 128 + signal.SIGINT


def up(where: Place) -> int:
    todo = steps.up_steps(where)
    with lock.held(where, "make up") as holder:
        code = walk(where, todo, holder.token, "up")
        if code:
            # What a killed command has left behind would work on beside the next `make up`.
            orphans.end(holder.token)
        return code


def down(where: Place) -> int:
    step = Step("down", "remove the lab and its state", steps.down_lab, "podman ps --all")
    with lock.held(where, "make down") as holder:
        code = walk(where, [step], holder.token, "down")
        if code == 0:
            shutil.rmtree(where.state, ignore_errors=True)
            say(f"Removed {where.state}. The cache {where.cache} and the logs {where.logs} stay.")
    return code


def unlock(where: Place) -> int:
    holder = lock.holder_now(where)
    if holder is None:
        say(f"site '{where.site}' is not held. Nothing to break: a lock ends with its holder.")
        return 0
    say(f"site '{where.site}' is held by {holder}.")
    say(f"  watch it:         tail -F {where.logs}/*.log")
    say(f"  end it in order:  kill -TERM {holder.pid}")
    say(f"  break it:         kill -KILL {holder.pid}")
    say("The lock is free once that process is gone; the next `make up` recovers.")
    return 0


def walk(where: Place, todo: Sequence[Step], token: str, verb: str) -> int:
    """Runs the steps in order; the first that fails ends the walk."""
    records = progress.load(where.progress)
    changed: dict[str, int] = {}
    begun = time.monotonic()
    for number, step in enumerate(todo, start=1):
        say(f"[{number}/{len(todo)}] {step.name}: {step.says}")
        record = records.get(step.name, progress.Record())
        work = Work(
            where,
            step.name,
            token,
            cluster_changed=bool(changed.get("hosts") or changed.get("lab")),
            ended_before=record.ended,
        )
        work.log.parent.mkdir(parents=True, exist_ok=True)
        work.log.write_bytes(b"")
        records[step.name] = record.begun()
        progress.save(where.progress, records)
        at = time.monotonic()
        ended = "interrupted"
        try:
            changed[step.name] = step.do(work)
            ended = "ok"
        except StepFailed as failure:
            ended = "failed"
            return report_failure(step, work, failure, verb)
        finally:
            seconds = time.monotonic() - at
            records[step.name] = record.done(ended, seconds, bool(changed.get(step.name)))
            progress.save(where.progress, records)
        rest = progress.left([later.name for later in todo[number:]], records, any(changed.values()))
        say_done(work, changed[step.name], seconds, rest)
    return closing(where, verb, changed, time.monotonic() - begun)


def say_done(work: Work, changed: int, seconds: float, rest: str) -> None:
    for note in work.notes:
        say(f"    {note}")
    what = f"{changed} changed" if changed else "nothing to change"
    say(f"    done in {progress.spoken(seconds)}, {what}; {rest}")


def report_failure(step: Step, work: Work, failure: StepFailed, verb: str) -> int:
    for note in work.notes:
        say(f"    {note}")
    complain(f"\nStep '{step.name}' failed ({step.says}). Why:")
    for line in failure.cause:
        complain(f"    {line}")
    complain(f"Look closer:   {failure.closer or step.closer}")
    complain(f"The whole log: {work.log}")
    complain(f"Then again:    make {verb} SITE={work.place.site}   (what is done is not done again)")
    return failure.code


def closing(where: Place, verb: str, changed: dict[str, int], seconds: float) -> int:
    worked = [f"{name} {count}" for name, count in changed.items() if count]
    what = "Changed: " + ", ".join(worked) if worked else "Nothing had to be changed"
    say(f"\nmake {verb}: done in {progress.spoken(seconds)}. {what}.")
    if verb == "up":
        say(f"Report:   {where.report / 'index.html'}")
        say(f"Contract: {where.platform}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
