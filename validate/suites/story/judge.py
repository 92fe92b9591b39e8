"""From what the rooms told to one verdict for each link of the story. Pure functions.

What must come out is computed here from the seed; no room is asked what it should hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from components.kit.probing import Check, Verdict
from validate.core import causes
from validate.pod.integration.records import CONTROLS, SENTINEL
from validate.pod.story.records import FEATURES, FIRST, LEARNT, ROWS, SECOND, Story
from validate.suites.integration.judge import Wrong, check

Found = Mapping[str, Any]
RIGHT = 0.9  # share of a segment's questions that have to be answered rightly
MOVED = 0.1  # share of an unchanged segment's questions whose answer may be another one


def acknowledged(name: str, found: Found, story: Story, delivery: str) -> Check:
    """All that was to be sent, and each of it acknowledged."""
    wanted = sum(1 for _ in story.sent(delivery, ""))
    wrong: Wrong = None
    if found["acknowledged"] != wanted:
        said = found["refused"] or "nothing is said of the rest"
        wrong = causes.ERRORS, f"{found['acknowledged']} of {wanted} records: {said}"
    return check(name, wrong, f"{wanted} records in {found['seconds']:.1f} s", **found)


def held(name: str, where: str, found: Found, story: Story, delivery: str) -> Check:
    """`where`: offline or online. Of each machine the newest that was sent, and nothing else."""
    wanted = story.known(delivery)
    seen = {key: _row(found[where].get(key)) for key in wanted}
    missing = [key for key, row in seen.items() if row is None]
    other = [key for key, row in seen.items() if row is not None and row != wanted[key]]
    wrong: Wrong = None
    if missing:
        wrong = causes.LOST_WRITES, f"nothing is known of {len(missing)} of {len(wanted)} machines: {missing[:3]}"
    elif other and delivery == SECOND and all(seen[key] == story.known(FIRST)[key] for key in other):
        wrong = causes.STALE_READS, f"{len(other)} of {len(wanted)} machines are as before the delivery"
    elif other:
        cause = causes.FEATURE_SKEW if where == "online" else causes.CORRUPT_DATA
        wrong = cause, f"{len(other)} of {len(wanted)} machines have other features, e.g. {other[0]}: {seen[other[0]]}"
    evidence = {"machines": len(wanted), "missing": len(missing), "other": len(other), "seconds": found["seconds"]}
    return check(name, wrong, f"{len(wanted)} machines after {found['seconds']:.1f} s", **evidence)


def _row(told: Sequence[Any] | None) -> tuple[Any, ...] | None:
    return None if told is None or all(each is None for each in told) else tuple(told)


def aside(name: str, found: Found, story: Story) -> Check:
    """Of records that nobody can read nothing is known."""
    taken = sorted({k for k in story.altered() for where in ("offline", "online") if _row(found[where].get(k))})
    wrong = (causes.BAD_INPUT, f"{len(taken)} altered records were taken as sound: {taken}") if taken else None
    return check(name, wrong, f"{len(story.altered())} kinds set aside")


def trained(name: str, found: Found, story: Story, delivery: str, earlier: Found | None = None) -> Check:
    """The run ended well; the version that it registered names and keeps the records of this delivery, no older ones.
    `found`: what the workflow said, and what MLflow says of the run; `earlier`: of the training before."""
    wanted = records(story, delivery)
    wrong: Wrong = None
    if found["phase"] != "Succeeded":
        wrong = causes.ERRORS, f"the run is {found['phase']}: {found['said']}"
    elif not found["version"]:
        wrong = causes.LOST_WRITES, f"the run {found['run']} registered no version"
    elif earlier and found["version"] == earlier["version"]:
        wrong = causes.STALE_MODEL, f"it gave version {found['version']} again"
    elif found["of_run"] != found["run"]:
        wrong = causes.WRONG_VERSION, f"version {found['version']} is of the run {found['of_run'] or 'nobody'}"
    elif (of_data := _of_data(found, story, delivery, wanted)) is not None:
        wrong = of_data
    kept = {key: found.get(key) for key in ("run", "version", "named", "kept", "gates", "phase", "seconds")}
    good = f"version {found.get('version')} of {len(wanted)} records, sha256 {str(found.get('named'))[:12]}"
    return check(name, wrong, f"{good}, in {found['seconds']:.0f} s", records=len(found.get("records", ())), **kept)


def _of_data(found: Found, story: Story, delivery: str, wanted: list[dict[str, Any]]) -> Wrong:
    """What is wrong with the records that a version names."""
    if found["kept"] != found["named"]:
        return causes.CORRUPT_DATA, f"sha256 {found['named'][:12]} is named, and {found['kept'][:12] or 'nothing'} kept"
    if found["records"] == wanted:
        return None
    if delivery == SECOND and found["records"] == records(story, FIRST):
        return causes.STALE_MODEL, "it was trained on the records from before the delivery"
    other = sum(a != b for a, b in zip(found["records"], wanted, strict=False))
    text = f"{len(found['records'])} records were trained on, {len(wanted)} sent; {other} of them are others"
    return causes.CORRUPT_DATA, text


def records(story: Story, delivery: str) -> list[dict[str, Any]]:
    """What is trained on after a delivery, as the problem has it."""
    return [dict(zip(FEATURES, values, strict=True)) for values in story.values(LEARNT, delivery).values()]


def answered(name: str, asked: Found, served: Found, story: Story) -> Check:
    """By the version that was served, and by what was learnt: rightly."""
    table = shares(story, asked["answers"], FIRST)
    wrong = _by(asked, served)
    if wrong is None and min(table.values()) < RIGHT:
        wrong = causes.WRONG_ANSWERS, f"right in {_told(table)} only"
    good = f"right in {_told(table)}, asked by key; served after {served['seconds']:.0f} s"
    return check(name, wrong, good, right=table, versions=asked["versions"], asked_again=asked["asked_again"])


def _by(asked: Found, served: Found) -> Wrong:
    """The version of every answer is the one that was deployed."""
    if asked["versions"] != [served["answers_as"]]:
        told = ", ".join(asked["versions"])
        return causes.STALE_MODEL, f"answered by {told}; {served['reference']} is {served['answers_as']}"
    return None


def same(name: str, by_key: Found, by_features: Found) -> Check:
    """Who brings the features is answered as who names the machine: the store tells the model what was sent."""
    other = sum(a != b for a, b in zip(by_key["answers"], by_features["answers"], strict=True))
    wrong: Wrong = None
    if by_key["versions"] != by_features["versions"]:
        wrong = causes.STALE_MODEL, f"by key answers {by_key['versions']}, by features {by_features['versions']}"
    elif other:
        wrong = causes.FEATURE_SKEW, f"{other} of {len(by_key['answers'])} machines get another answer"
    return check(name, wrong, f"{len(by_key['answers'])} machines, every answer the same")


def outcomes(name: str, found: Found, asked: Found, truths: Sequence[bool]) -> Check:
    """Of each question the answers that were given, the version that gave them, and what was said to be true."""
    answers = _rows(each["answers"] for each in found["kept"])
    actual = _rows(each["actual"] for each in found["kept"])
    versions = sorted({version for each in found["kept"] for version in each["versions"]})
    lost = sum(not (each["answers"] and each["actual"]) for each in found["kept"])
    wrong: Wrong = None
    if lost:
        wrong = causes.LOST_WRITES, f"of {lost} of {len(found['kept'])} questions the answer or the truth is not kept"
    elif (answers, actual) != (list(asked["answers"]), [int(each) for each in truths]):
        wrong = causes.CORRUPT_DATA, "other answers are kept than were given, or another truth than was told"
    elif versions != asked["versions"]:
        wrong = causes.WRONG_VERSION, f"kept as answers of {versions}, given by {asked['versions']}"
    errs = sum(a != b for a, b in zip(asked["answers"], actual, strict=False))
    evidence = {"questions": len(found["kept"]), "wrong_answers": errs, "versions": versions}
    return check(name, wrong, f"{len(truths)} answers, {errs} of them wrong", **evidence)


def contradicted(name: str, found: Found, both: Sequence[tuple[Found, Sequence[bool]]], story: Story) -> Check:
    """What the room counts is what follows from the answers and truths of both times: the old version errs about the
    changed segment, and hardly about any other. `both`: answers and truths, the last told last."""
    kept = outcomes(name, found, *both[-1])
    if kept.verdict is not Verdict.PASS:
        return kept
    version = both[-1][0]["versions"][0]
    rows = [each for each in found["figures"] if each["version"] == version]
    counted = sum(int(each["labels"]) for each in rows), sum(int(each["wrong"]) for each in rows)
    pairs = [(a, t) for asked, truths in both for a, t in zip(asked["answers"], truths, strict=True)]
    wanted = len(pairs), sum(bool(a) != t for a, t in pairs)
    table = {each: round(1 - share, 3) for each, share in shares(story, both[-1][0]["answers"], SECOND).items()}
    wrong: Wrong = None
    if counted != wanted:
        told = f"{counted[1]} wrong of {counted[0]} are counted, {wanted[1]} of {wanted[0]} were told"
        wrong = causes.CORRUPT_DATA, told
    elif table[SENTINEL] < RIGHT:
        text = f"the old version errs about {table[SENTINEL]:.0%} of the {SENTINEL}es: they are hardly contradicted"
        return Check(name, Verdict.INVALID, text, {"errs": table})
    good = f"{counted[1]} of {counted[0]} answers wrong, {table[SENTINEL]:.0%} of the changed segment's new ones"
    return check(name, wrong, good, errs=table, counted=counted)


def taken_over(name: str, found: Found, served: Found, old: str) -> Check:
    """The new version answers, for good, and nobody who asked meanwhile was let down."""
    wrong: Wrong = None
    if served["answers_as"] == old:
        wrong = causes.STALE_MODEL, f"{served['reference']} is served as {old}, which answered before"
    elif found["versions"][-1:] != [served["answers_as"]]:
        told = f"{served['answers_as']} did not answer within {found['seconds']:.0f} s"
        wrong = causes.STALE_MODEL, f"{told}: {found['versions']}"
    elif found["failed"]:
        wrong = causes.ERRORS, f"{found['failed']} of {found['asked']} questions failed, e.g. {found['examples'][0]}"
    elif found["versions"][:1] != [old]:
        return Check(name, Verdict.INVALID, f"the exchange was over before it was watched: {found['versions']}")
    elif not _once(found["versions"]):
        wrong = causes.STALE_MODEL, f"{found['versions'][0]} came back: {found['versions']}"
    good = f"{served['reference']} in {found['seconds']:.0f} s, {found['asked']} questions meanwhile, none failed"
    return check(name, wrong, good, **found)


def _once(versions: Sequence[str]) -> bool:
    """While pods of both stand behind one route answers may come from either; in the end the old one is silent."""
    return len(set(versions)) == len({*versions[:1], *versions[-1:]})


def changed(name: str, before: Found, after: Found, served: Found, story: Story) -> Check:
    """The segment whose meaning turned round is answered the other way, by the new version."""
    now, was = shares(story, after["answers"], SECOND)[SENTINEL], shares(story, after["answers"], FIRST)[SENTINEL]
    wrong: Wrong = _by(after, served)
    if wrong is None and before["answers"] == after["answers"]:
        wrong = causes.STALE_MODEL, "every answer is as before the new records"
    elif wrong is None and now < RIGHT:
        cause = causes.STALE_MODEL if was > now else causes.WRONG_ANSWERS
        wrong = cause, f"{was:.0%} are answered the old way, {now:.0%} the new way"
    evidence = {"segment": SENTINEL, "new_way": now, "old_way": was, "versions": after["versions"]}
    return check(name, wrong, f"{SENTINEL}: {now:.0%} answered the new way", **evidence)


def stayed(name: str, before: Found, after: Found, story: Story) -> Check:
    """All other segments are answered as before."""
    table, pairs = shares(story, after["answers"], SECOND), zip(before["answers"], after["answers"], strict=True)
    other = by_kind(story, [a != b for a, b in pairs])
    shifts = {each: round(sum(other[each]) / len(other[each]), 3) for each in CONTROLS}
    off = sorted(each for each in CONTROLS if shifts[each] > MOVED or table[each] < RIGHT)
    wrong = (causes.WRONG_ANSWERS, f"other answers without a reason: {', '.join(off)}") if off else None
    good = f"{max(shifts.values()):.0%} of a segment's answers are others at most, {MOVED:.0%} allowed"
    return check(name, wrong, good, moved=shifts, right=table)


def traced(name: str, found: Found, asked: Found, model: Found, story: Story) -> Check:
    """From the version that answers name, step by step, to the records that were sent."""
    newest = "which is the one that was registered last"
    hops = {
        "the answer names a version that is served": bool(found["reference"]),
        newest: found.get("version") == model["version"],
        "by the run that was begun": found.get("of_run") == model["run"],
        "of records that are kept under the digest that it names": bool(found.get("named"))
        and found.get("named") == found.get("kept"),
        "which are those that were sent": found.get("records") == records(story, SECOND),
    }
    broken = [hop for hop, holds in hops.items() if not holds]
    cause = causes.CORRUPT_DATA if hops[newest] else causes.STALE_MODEL
    wrong = (cause, f"broken: {'; '.join(broken)}") if broken else None
    good = f"answer {asked['versions'][0]}, {found['reference']}, run {found.get('of_run')}, records"
    return check(name, wrong, f"{good} {str(found.get('named'))[:12]}", hops=hops)


def cleaned(name: str, left: Mapping[str, int]) -> Check:
    """Nothing of the run is known any more."""
    there = {where: count for where, count in left.items() if count}
    wrong = (causes.LEFT_BEHIND, f"still there: {there}") if there else None
    return check(name, wrong, f"gone: {', '.join(left)}", left=dict(left))


def by_kind(story: Story, values: Sequence[Any]) -> dict[str, list[Any]]:
    """Values of the machines that are asked about, by their kind."""
    found: dict[str, list[Any]] = {}
    for kind, value in zip(story.kinds(), values, strict=True):
        found.setdefault(kind, []).append(value)
    return found


def shares(story: Story, answers: Sequence[Any], delivery: str) -> dict[str, float]:
    """Of each kind the share of right answers, by the truth after a delivery."""
    right = [bool(answer) == truth for answer, truth in zip(answers, story.truths(delivery), strict=True)]
    return {kind: sum(found) / len(found) for kind, found in by_kind(story, right).items()}


def _rows(parts: Iterable[Sequence[Any]]) -> list[Any]:
    return [each for part in parts for each in part[:ROWS]]


def _told(table: Mapping[str, float]) -> str:
    return f"{min(table.values()):.0%} to {max(table.values()):.0%} of each segment"
