"""From what the pods told to one verdict for each link of the chain. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.kit.probing import Check, Verdict
from validate.core import causes
from validate.pod.integration.records import CONTROLS, SENTINEL
from validate.suites.integration.expected import Data, Expected, Holding, moved, right

Found = Mapping[str, Any]
Wrong = tuple[str, str] | None  # (cause, what is wrong)


def check(name: str, wrong: Wrong, good: str, **evidence: object) -> Check:
    """PASS, or FAIL with its cause."""
    if wrong is None:
        return Check(name, Verdict.PASS, good, evidence)
    cause, what = wrong
    return Check(name, Verdict.FAIL, what, {"cause": cause, **evidence})


def read_again(name: str, found: Found, wanted: Holding) -> Check:
    """All that the log acknowledged came out of it: once, whole, in order."""
    lost = wanted.count - found["read"]
    damaged = sum(found["aside"].values()) - wanted.altered
    wrong: Wrong = None
    if found["acknowledged"] != found["sent"]:
        wrong = causes.ERRORS, f"{found['acknowledged']} of {found['sent']} were acknowledged"
    elif 0 < lost <= damaged:
        wrong = causes.CORRUPT_DATA, f"{lost} of {wanted.count} records came out unreadable"
    elif lost > 0:
        wrong = causes.LOST_WRITES, f"{lost} of {wanted.count} acknowledged records never came out"
    elif found["read_digest"] != wanted.digest:
        wrong = causes.CORRUPT_DATA, "as many came out as went in, with other bytes"
    elif found["twice"] > found["resent"]:
        told = f"{found['twice']} came out twice, {found['resent']} were sent twice"
        wrong = causes.DUPLICATED_WRITES, told
    elif found["reordered"] > found["resent"]:
        wrong = causes.REORDERED_WRITES, f"{found['reordered']} came out before older ones"
    good = f"{wanted.count} records, the same bytes, in {found['seconds']:.1f} s"
    return check(name, wrong, good, wanted=vars(wanted), **found)


def held(name: str, where: str, found: Found, read: Found) -> Check:
    """`where`: table or objects. It holds what came out of the log, not less, not more."""
    count, wanted, digest = found[where], read["read"], found[f"{where}_digest"]
    wrong: Wrong = None
    if count < wanted:
        wrong = causes.LOST_WRITES, f"{wanted - count} of {wanted} records are missing"
    elif count > wanted:
        wrong = causes.PHANTOM_WRITES, f"{count} records where {wanted} were written"
    elif digest != read["read_digest"]:
        wrong = causes.CORRUPT_DATA, f"{count} records, but not those that were written"
    elif where == "table" and found["skewed"]:
        told = f"{found['skewed']} rows have other features than their raw records"
        wrong = causes.FEATURE_SKEW, told
    evidence = {"count": count, "digest": digest, "wanted": wanted, "skewed": found["skewed"]}
    return check(name, wrong, f"{count} records, the same bytes", **evidence)


def set_aside(name: str, found: Found, wanted: Holding) -> Check:
    """Records in formats that nobody agreed on, and no others."""
    aside = sum(found["aside"].values())
    wrong: Wrong = None
    if aside < wanted.altered:
        wrong = causes.BAD_INPUT, f"{wanted.altered - aside} altered records were taken as sound"
    elif aside > wanted.altered:
        wrong = causes.CORRUPT_DATA, f"{aside - wanted.altered} sound records were set aside"
    good = f"{aside} of {wanted.altered}: {', '.join(sorted(found['aside']))}"
    return check(name, wrong, good, aside=found["aside"])


def parity(name: str, found: Found) -> Check:
    """Each machine's features: the online store answers what the training would see."""
    skewed, missing, total = found["online_skewed"], found["online_missing"], len(found["machines"])
    wrong: Wrong = None
    if total == 0:
        return Check(name, Verdict.INVALID, "the table has no machine to compare")
    if missing:
        wrong = causes.LOST_WRITES, f"{missing} of {total} machines have no online features"
    elif skewed:
        wrong = causes.FEATURE_SKEW, f"{skewed} of {total} machines have other features online"
    keys = ("online_digest", "offline_digest", "online_missing", "online_skewed", "example")
    return check(name, wrong, f"{total} machines, the same digest", **{k: found[k] for k in keys})


def trained(name: str, data: Found, model: Found, wanted: Data | None, earlier: Sequence[Found]) -> Check:
    """The bytes that the training pod read are those that the records give, and no older ones.

    `wanted` is None when the records themselves did not arrive as they should.
    """
    seen = model["data_seen"]
    wrong: Wrong = None
    if seen in [each["data_seen"] for each in earlier]:
        wrong = causes.STALE_MODEL, "it was trained on the data of an earlier training"
    elif model["model"] in [each["model"] for each in earlier]:
        wrong = causes.STALE_MODEL, "it gave the earlier model again"
    elif wanted is not None and data["data"] != wanted.digest:
        wrong = causes.CORRUPT_DATA, "the training data are not those that the records give"
    elif (seen, model["rows_seen"]) != (data["data"], data["rows"]):
        wrong = causes.CORRUPT_DATA, f"{model['rows_seen']} rows were read, others than published"
    good = f"{data['rows']} rows, {model['training']['library']}, model {model['model'][:12]}"
    evidence = {k: model[k] for k in ("model", "data_seen", "rows_seen", "training", "bytes")}
    wish = vars(wanted) if wanted else None
    return check(name, wrong, good, published=dict(data), wanted=wish, **evidence)


def first_answers(name: str, asked: Found, model: Found, expected: Expected) -> Check:
    """The premise of everything later: the platform answers by this model, and rightly.

    A model that is wrong in the training pod already is our own failure: INVALID.
    """
    table = shares(expected, asked["answers"], rebuilt=False)
    evidence = {"right": table, "models": asked["models"], "answers_digest": asked["answers_digest"]}
    wrong = _by_this_model(asked, model)
    if wrong is None and min(table.values()) < expected.wish.right:
        return Check(name, Verdict.INVALID, f"the model has not learnt: right {table}", evidence)
    return check(name, wrong, f"right in {_least(table)} of the questions", **evidence)


def _by_this_model(asked: Found, model: Found) -> Wrong:
    if asked["models"] != [model["model"]]:
        return causes.STALE_MODEL, (f"answered by {_short(asked['models'])}, trained was {_short([model['model']])}")
    if asked["answers_digest"] != model["answers_digest"]:
        return causes.WRONG_ANSWERS, "the answers are not those of the model they are said to be of"
    return None


def taken_over(name: str, found: Found, old: str) -> Check:
    """The new model answers, for good, and nobody who asked meanwhile was let down."""
    wrong: Wrong = None
    if found["wanted"] == old:
        wrong = causes.STALE_MODEL, "the model to take over is the one that answered before"
    elif not found["taken"]:
        wrong = (
            causes.STALE_MODEL,
            (
                f"{_short([found['wanted']])} did not answer within {found['seconds']:.0f} s; "
                f"the server says: {found['state'].get('refused') or 'nothing'}"
            ),
        )
    elif found["failed"]:
        wrong = causes.ERRORS, f"{found['failed']} of {found['asked']} questions failed"
    elif found["models"][:1] != [old]:
        text = f"the exchange was over before it was watched: {_short(found['models'])}"
        return Check(name, Verdict.INVALID, text, dict(found))
    elif found["models"] != [old, found["wanted"]]:
        wrong = causes.STALE_MODEL, f"it went back and forth: {_short(found['models'])}"
    good = f"in {found['seconds']:.1f} s, {found['asked']} questions meanwhile, none failed"
    return check(name, wrong, good, **found)


def changed(name: str, before: Found, after: Found, models: tuple[Found, Found], expected: Expected) -> Check:
    """The segment whose meaning turned round is answered the other way, by the new model."""
    old, new = models
    if not _learnt(before, expected):
        return Check(name, Verdict.INVALID, UNTAUGHT)
    first = expected.by_segment(before["answers"])[SENTINEL]
    second = expected.by_segment(after["answers"])[SENTINEL]
    was, now = (expected.by_segment(expected.truth(r))[SENTINEL] for r in (False, True))
    share = right(second, now)
    wrong: Wrong = None
    if after["answers_digest"] == old["answers_digest"]:
        wrong = causes.STALE_MODEL, "every answer is as before the new data"
    elif share < expected.wish.right and right(second, was) > share:
        wrong = causes.STALE_MODEL, f"{right(second, was):.0%} are still answered the old way"
    elif share < expected.wish.right:
        wrong = causes.WRONG_ANSWERS, f"right in {share:.0%} of the questions only"
    else:
        wrong = _by_this_model(after, new)
    evidence = {
        "segment": SENTINEL,
        "right_before": right(first, was),
        "right_after": share,
        "moved": moved(first, second),
        "models": after["models"],
        "answers_before": before["answers_digest"],
        "answers_after": after["answers_digest"],
    }
    good = f"{SENTINEL}: {share:.0%} answered the new way, moved by {evidence['moved']:.2f}"
    return check(name, wrong, good, **evidence)


def stayed(name: str, before: Found, after: Found, expected: Expected) -> Check:
    """All other segments are answered as before."""
    if not _learnt(before, expected):
        return Check(name, Verdict.INVALID, UNTAUGHT)
    first, second = (expected.by_segment(found["answers"]) for found in (before, after))
    table = shares(expected, after["answers"], rebuilt=True)
    shifts = {each: round(moved(first[each], second[each]), 3) for each in CONTROLS}
    off = [each for each in CONTROLS if shifts[each] > expected.wish.tolerance]
    bad = [each for each in CONTROLS if table[each] < expected.wish.right]
    wrong: Wrong = None
    if off or bad:
        wrong = causes.WRONG_ANSWERS, f"other answers without a reason: {sorted({*off, *bad})}"
    good = f"moved by {max(shifts.values()):.2f} at most, {expected.wish.tolerance:g} allowed"
    return check(name, wrong, good, moved=shifts, right=table, tolerance=expected.wish.tolerance)


UNTAUGHT = "what was answered before was wrong already, so a change of answers shows nothing"


def _learnt(before: Found, expected: Expected) -> bool:
    return min(shares(expected, before["answers"], rebuilt=False).values()) >= expected.wish.right


def shares(expected: Expected, answers: Sequence[float], rebuilt: bool) -> dict[str, float]:
    """Of each segment the share of right answers."""
    truths = expected.by_segment(expected.truth(rebuilt))
    given = expected.by_segment(answers)
    return {segment: right(given[segment], truths[segment]) for segment in truths}


def traced(name: str, found: Found, asked: Found, data: Found, wanted: Data | None) -> Check:
    """Each digest on the way back is computed from bytes, and fits the next.

    `data` is what was published last; `wanted` is None when not all records arrived.
    """
    newest = "model was trained on the newest data"
    hops = {
        "answer names the model": asked["models"] == [found["model"]],
        newest: found["data_named"] == data["data"],
        "data have the digest that the model names": found["data_named"] == found["data"],
    }
    if hops[newest]:
        hops |= {
            "data come from the records of the table": found["data_again"] == found["data"],
            "records are those that were published": found["records_digest"] == found["records_digest_named"],
        }
    if hops[newest] and wanted is not None:
        hops["records are those that were sent"] = found["records_digest"] == wanted.records_digest
    broken = [hop for hop, holds in hops.items() if not holds]
    cause = causes.CORRUPT_DATA if hops[newest] else causes.STALE_MODEL
    wrong = (cause, f"broken: {'; '.join(broken)}") if broken else None
    way = f"model {found['model'][:12]}, data {found['data'][:12]}"
    good = f"answer, {way}, {found['records']} records"
    return check(name, wrong, good, hops=hops, **found)


def same_answers(name: str, batch: Found, online: Found, machines: Sequence[str], skewed: bool) -> Check:
    """Machines answered in batch from the table, and one by one from the online store.

    `skewed`: the online store's features are known to be others.
    """
    given = dict(zip(machines, online["answers"], strict=True))
    other = [m for m in machines if given[m] != batch["answers"].get(m)]
    wrong: Wrong = None
    if online["models"] != [batch["model"]]:
        told = f"batch by {_short([batch['model']])}, online by {_short(online['models'])}"
        wrong = causes.STALE_MODEL, told
    elif other:
        cause = causes.FEATURE_SKEW if skewed else causes.WRONG_ANSWERS
        wrong = cause, f"{len(other)} of {len(machines)} machines get another answer"
    evidence = {"machines": len(machines), "different": other[:10], "models": online["models"]}
    return check(name, wrong, f"{len(machines)} machines, every answer the same", **evidence)


def refused(name: str, found: Found) -> Check:
    """4xx for each bad question, the next good one answered as before, the process alive."""
    cases = found["cases"]
    bad = [f"{c['case']}: {c['status'] or c.get('error')}" for c in cases if c["status"] not in c["allowed"]]
    after = [c["case"] for c in cases if not c["good_after"]]
    wrong: Wrong = None
    if bad:
        wrong = causes.BAD_INPUT, f"not refused as they should be: {'; '.join(bad[:5])}"
    elif after:
        wrong = causes.BAD_INPUT, f"good questions suffered after: {'; '.join(after[:5])}"
    elif not found["alive"]:
        wrong = causes.BAD_INPUT, "the server's process is gone"
    return check(name, wrong, f"{len(cases)} kinds refused, the server went on", cases=cases)


def rolled_back(name: str, found: Found, asked: Found, first: Found) -> Check:
    """The first model again: every answer has the bytes that it had."""
    wrong: Wrong = None
    if not found["taken"]:
        wrong = causes.WRONG_VERSION, f"{_short([found['wanted']])} did not come back"
    elif found["failed"]:
        wrong = causes.ERRORS, f"{found['failed']} of {found['asked']} questions failed"
    elif (asked["models"], asked["answers_digest"]) != (first["models"], first["answers_digest"]):
        wrong = causes.WRONG_VERSION, "the answers are not those of the first time"
    good = f"in {found['seconds']:.1f} s, every answer as the first time"
    return check(name, wrong, good, answers_digest=asked["answers_digest"], **found)


def cleaned(name: str, found: Found) -> Check:
    left = {where: count for where, count in found["left"].items() if count}
    wrong = (causes.LEFT_BEHIND, f"still there: {left}") if left else None
    return check(name, wrong, "rows, objects and features are gone", **found)


def _short(digests: Sequence[str]) -> str:
    return ", ".join(digest[:12] for digest in digests) or "none"


def _least(table: Mapping[str, float]) -> str:
    return f"{min(table.values()):.0%} to {max(table.values()):.0%}"
