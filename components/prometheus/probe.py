"""Prometheus as whoever asks it sees it. Runs in the clients' image: standard library and kit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from components.kit.asking import Caller, callers
from components.kit.probing import Check, Target, attempt
from components.kit.replicas import Found, settled

MEMBER, WHOLE = "prometheus-member", "prometheus"
WINDOW_RULES = 3  # of the room's own file window.yml
WINDOW_JOB = "window"
OWN_MINUTES = 'sum(apadana:watched_minutes{job=""})'
TOLERANCE_MINUTES = 10
LISTED_SECONDS = 75.0  # until a new pod is in every list, and each certificate was looked at once
CERTIFICATES = "count by (component) (probe_ssl_earliest_cert_expiry)"
ANY = -1  # of a job's targets: pods that come and go, or none


def query(caller: Caller, text: str) -> list[float]:
    """The values of an instant query."""
    told = caller.ask("/api/v1/query", {"query": text}).json()
    return [float(item["value"][1]) for item in told["data"]["result"]]


def expected(target: Target) -> Mapping[str, Mapping[str, int]]:
    """What all contracts gave it to watch; it lies beside the password in the client's Secret."""
    found: dict[str, dict[str, int]] = json.loads(target.extra["expected"])
    return found


def _each(target: Target, look: Callable[[Caller], str]) -> Found:
    """Every replica by itself; `look` returns what is wrong, "" for nothing."""
    said = {name: _said(look, caller) for name, caller in callers(target, MEMBER).items()}
    wrong = [f"{name}: {what}" for name, what in said.items() if what]
    return not wrong, "; ".join(wrong) or f"so say {', '.join(said)}", said


def _said(look: Callable[[Caller], str], caller: Caller) -> str:
    try:
        return look(caller)
    except (OSError, KeyError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def _ready(caller: Caller) -> str:
    answer = caller.ask("/-/ready")
    return "" if answer.status == 200 else f"HTTP {answer.status}"


def _targets(caller: Caller, wanted: Mapping[str, int]) -> str:
    """One that was not asked yet, "unknown", is no target that is down; nor does it count as up."""
    active = caller.ask("/api/v1/targets", {"state": "active"}).json()["data"]["activeTargets"]
    up = Counter(t["labels"]["job"] for t in active if t["health"] == "up")
    passing = {job for job, number in wanted.items() if number == ANY}
    asked = [t for t in active if t["health"] == "down" and t["labels"]["job"] not in passing]
    down = [f"{t['labels']['instance']} ({t['lastError']})" for t in asked]
    lacking = [
        f"{job}: {up[job]} up of {number or 'at least 1'}"
        for job, number in wanted.items()
        if job not in passing and up[job] < max(number, 1)
    ]
    return "; ".join([*lacking, *down])


def _settled(target: Target, look: Callable[[Caller], str]) -> Found:
    """A pod that was made a moment ago is asked only when the name servers were asked again."""
    return settled(target, LISTED_SECONDS, lambda: _each(target, look))


def _rules(caller: Caller, wanted: Mapping[str, int]) -> str:
    groups = caller.ask("/api/v1/rules").json()["data"]["groups"]
    found: Counter[str] = Counter()
    sick = []
    for group in groups:
        found[group["file"].rpartition("/")[2].removesuffix(".yml")] += len(group["rules"])
        sick += [f"{r['name']}: {r['lastError']}" for r in group["rules"] if r["health"] == "err"]
    whole = {**wanted, WINDOW_JOB: WINDOW_RULES}
    lacking = [f"{room}: {found[room]} rules of {n}" for room, n in whole.items() if found[room] != n]
    return "; ".join([*lacking, *sick])


def _certificates(caller: Caller, wanted: Mapping[str, int]) -> str:
    """How long each is good, is seen where a client meets it."""
    told = caller.ask("/api/v1/query", {"query": CERTIFICATES}).json()["data"]["result"]
    seen = {each["metric"].get("component", ""): int(float(each["value"][1])) for each in told}
    return "; ".join(
        f"{room}: {seen.get(room, 0)} of {n} are seen" for room, n in wanted.items() if seen.get(room) != n
    )


def _helpful(caller: Caller) -> str:
    """Whoever is told of an alert is told what it is, how bad, of which room, what to read."""
    groups = caller.ask("/api/v1/rules", {"type": "alert"}).json()["data"]["groups"]
    alerts = [rule for group in groups for rule in group["rules"]]
    lacks = {alert["name"]: labels_lacking(alert) for alert in alerts}
    mute = [f"{name} lacks {', '.join(words)}" for name, words in lacks.items() if words]
    return "; ".join(mute) if alerts else "it has no alert"


def labels_lacking(alert: Mapping[str, Any]) -> list[str]:
    """Words without which an alert tells nobody what to do."""
    wanted = {"annotations": ("summary", "runbook"), "labels": ("component", "severity")}
    return [word for part, words in wanted.items() for word in words if not alert[part].get(word)]


def minutes(target: Target) -> dict[str, float]:
    """How much of the window each replica has."""
    return {name: (query(caller, OWN_MINUTES) or [0.0])[0] for name, caller in callers(target, MEMBER).items()}


def _answers_whole(target: Target) -> Found:
    """Whichever replica is asked, the answer comes from one that has what there is."""
    have = minutes(target)
    best = max(have.values())
    told = {name: (query(caller, OWN_MINUTES) or [0.0])[0] for name, caller in callers(target, WHOLE).items()}
    poor = [f"{name} answers with {has:g}" for name, has in told.items() if has < best - TOLERANCE_MINUTES - 1]
    detail = "; ".join(poor) or f"{best:g} minutes, whoever is asked"
    return best > 0 and not poor, detail, {"minutes": have, "answered": told}


def _refused(target: Target) -> Found:
    """Who has no log-in, or a wrong one, gets nothing on any door."""
    answers: dict[str, int] = {}
    for protocol in (MEMBER, WHOLE):
        caller = next(iter(callers(target, protocol).values()))
        for what, given in (
            ("right", caller),
            ("wrong", replace(caller, password="not-" + caller.password)),
            ("none", replace(caller, username="")),
        ):
            answers[f"{protocol} {what}"] = given.ask("/api/v1/status/buildinfo").status
    sound = all(status == (200 if "right" in what else 401) for what, status in answers.items())
    return sound, ", ".join(f"{what}: {status}" for what, status in answers.items()), answers


#: What was refused and what was taken, by any Alertmanager: "sent" counts what was refused, too.
REFUSED = "sum(increase(prometheus_notifications_errors_total[5m]))"
TAKEN = f"sum(increase(prometheus_notifications_sent_total[5m])) - {REFUSED}"


def _taken(caller: Caller) -> str:
    """One Alertmanager is enough, for they tell each other; a member that was away refused some."""
    known = caller.ask("/api/v1/alertmanagers").json()["data"]["activeAlertmanagers"]
    if not known:
        return "it knows no Alertmanager"
    refused, taken = ((query(caller, text) or [0.0])[0] for text in (REFUSED, TAKEN))
    if refused > 0 and taken <= 0:
        return f"{refused:g} messages were refused in 5 minutes and none was taken"
    return ""


def smoke(target: Target) -> Iterator[Check]:
    """Each replica for itself, then what people are given."""
    wanted = expected(target)
    yield attempt("prometheus: every replica is ready", lambda: _each(target, _ready))
    yield attempt(
        "prometheus: every target of the contracts is up",
        lambda: _settled(target, lambda caller: _targets(caller, wanted["targets"])),
    )
    yield attempt(
        "prometheus: the rules of every room are loaded and sound",
        lambda: _each(target, lambda caller: _rules(caller, wanted["rules"])),
    )
    yield attempt(
        "prometheus: every certificate is watched",
        lambda: _settled(target, lambda caller: _certificates(caller, wanted["certificates"])),
    )
    yield attempt("prometheus: every alert names its runbook", lambda: _each(target, _helpful))
    if "alertmanager" in wanted["targets"]:
        yield attempt("prometheus: alerts are taken", lambda: _each(target, _taken))
    yield attempt("prometheus: the whole window answers", lambda: _answers_whole(target))
    yield attempt("prometheus: a log-in is needed", lambda: _refused(target))


def primary(target: Target) -> str | None:
    """None: every replica measures everything."""
    del target
    return None


def whole(target: Target) -> Check:
    """They run and see each other; how much of the window one has is not asked: it takes days."""
    return attempt("prometheus: whole", lambda: _each(target, _sees_all))


def _sees_all(caller: Caller) -> str:
    if told := _ready(caller):
        return told
    seen = query(caller, f'up{{job="{WINDOW_JOB}"}}')
    return "" if seen and all(seen) else f"it sees {sum(seen):g} of {len(seen)} replicas"


def version(target: Target) -> Mapping[str, str]:
    """What each replica says that it is."""

    def told(caller: Caller) -> str:
        found: dict[str, Any] = caller.ask("/api/v1/status/buildinfo").json()
        return str(found["data"]["version"]).partition("+")[0]

    return {name: told(caller) for name, caller in callers(target, MEMBER).items()}
