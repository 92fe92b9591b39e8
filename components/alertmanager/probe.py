"""Alertmanager as who posts alerts sees it. Runs in the clients' image: standard library, kit."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from components.kit.asking import Caller, callers
from components.kit.probing import Check, Target, attempt

PROTOCOL = "alertmanager"
SECONDS = 10.0  # for what one member was told to reach the others
ALERTS, SILENCES = "/api/v2/alerts", "/api/v2/silences"

Found = tuple[bool, str, Mapping[str, object]]


def _until(look: Callable[[], str]) -> str:
    """Asks until nothing is wrong, or the time is over; returns what is wrong then."""
    end = time.monotonic() + SECONDS
    while (wrong := look()) and time.monotonic() < end:
        time.sleep(0.2)  # between two looks at a condition that has a deadline
    return wrong


def _cluster(target: Target) -> Found:
    """Each member says that it is ready and sees them all."""
    members = callers(target, PROTOCOL)
    said: dict[str, str] = {}
    for name, caller in members.items():
        try:
            cluster = caller.ask("/api/v2/status").json()["cluster"]
            peers = len(cluster["peers"])
            said[name] = f"{cluster['status']}, sees {peers}"
        except (OSError, KeyError, ValueError) as error:
            said[name] = f"{type(error).__name__}: {error}"
    sound = all(text == f"ready, sees {len(members)}" for text in said.values())
    return sound, ", ".join(f"{name}: {text}" for name, text in said.items()), said


def _alert(run: str, member: str, *, over: bool = False) -> dict[str, Any]:
    now = datetime.now(UTC)
    ends = now if over else now + timedelta(minutes=2)
    return {
        # It goes away by itself, and nobody is to be woken by it: the silence is there first.
        "labels": {"alertname": "ProbeAlert", "component": "probe", "run": run, "of": member},
        "annotations": {"summary": "a test of the platform's validator"},
        "startsAt": (now - timedelta(seconds=1)).isoformat(),
        "endsAt": ends.isoformat(),
    }


def make_silence(caller: Caller, run: str) -> str:
    """Given to one member; its id."""
    now = datetime.now(UTC)
    body = {
        "matchers": [{"name": "run", "value": run, "isRegex": False, "isEqual": True}],
        "startsAt": now.isoformat(),
        "endsAt": (now + timedelta(minutes=5)).isoformat(),
        "createdBy": "validate",
        "comment": "a test alert that nobody is to be told of",
    }
    told: dict[str, str] = caller.ask(SILENCES, method="POST", body=body).json()
    return told["silenceID"]


def _grouped(target: Target) -> Found:
    """A silence given to one member is known to all; alerts that two senders post are one group,
    in which the same alert of both is one."""
    run = f"probe{uuid.uuid4().hex[:8]}"
    members = callers(target, PROTOCOL)
    first = next(iter(members.values()))
    silence = make_silence(first, run)
    try:
        known = _until(lambda: lacking(members, f"/api/v2/silence/{silence}"))
        # As two Prometheus do: each tells every member the same.
        for _ in range(2):
            for caller in members.values():
                alerts = [_alert(run, "one"), _alert(run, "two")]
                _posted(caller, alerts)
        groups = {name: _group(caller, run) for name, caller in members.items()}
        wrong = [f"{name}: {found}" for name, found in groups.items() if found != "1 group of 2, silent"]
        return (
            not known and not wrong,
            "; ".join([*([known] if known else []), *wrong]) or f"in {', '.join(members)}",
            {"groups": groups, "silence": known or "everywhere"},
        )
    finally:
        for caller in members.values():
            _posted(caller, [_alert(run, "one", over=True), _alert(run, "two", over=True)])
        first.ask(f"/api/v2/silence/{silence}", method="DELETE")


def lacking(members: Mapping[str, Caller], path: str) -> str:
    """Members that do not know what is at this path, in words; "": all do."""
    lack = [name for name, caller in members.items() if caller.ask(path).status != 200]
    return f"the silence is not known to {', '.join(lack)}" if lack else ""


def _posted(caller: Caller, alerts: list[dict[str, Any]]) -> None:
    answer = caller.ask(ALERTS, method="POST", body=alerts)
    if answer.status != 200:
        raise OSError(f"{caller.host} refused the alert: HTTP {answer.status} {answer.body[:100]!r}")


def _group(caller: Caller, run: str) -> str:
    """What a member made of the alerts, in words."""

    def look() -> str:
        query = {"filter": f'run="{run}"', "silenced": "true", "active": "true"}
        groups = caller.ask("/api/v2/alerts/groups", query).json()
        alerts = [alert for group in groups for alert in group["alerts"]]
        quiet = all(alert["status"]["state"] == "suppressed" for alert in alerts)
        return f"{len(groups)} group of {len(alerts)}, {'silent' if quiet else 'not silent'}"

    seen = [""]

    def wrong() -> str:
        seen[0] = look()
        return "" if seen[0] == "1 group of 2, silent" else seen[0]

    _until(wrong)
    return seen[0]


def _refused(target: Target) -> Found:
    """Nobody posts an alert or a silence without a log-in."""
    caller = next(iter(callers(target, PROTOCOL).values()))
    answers = {
        "right password": caller.ask(SILENCES).status,
        "wrong password": replace(caller, password="not-" + caller.password).ask(SILENCES).status,
        "none": replace(caller, username="").ask(ALERTS, method="POST", body=[]).status,
    }
    wanted = {"right password": 200, "wrong password": 401, "none": 401}
    return answers == wanted, ", ".join(f"{k}: {v}" for k, v in answers.items()), answers


def smoke(target: Target) -> Iterator[Check]:
    """The members together, then as who posts alerts."""
    yield attempt("alertmanager: every member sees all", lambda: _cluster(target))
    yield attempt("alertmanager: one group, silent everywhere", lambda: _grouped(target))
    yield attempt("alertmanager: a log-in is needed", lambda: _refused(target))


def primary(target: Target) -> str | None:
    """None: all members take alerts."""
    del target
    return None


def whole(target: Target) -> Check:
    """Redundancy complete, as each member tells it."""
    return attempt("alertmanager: whole", lambda: _cluster(target))


def version(target: Target) -> Mapping[str, str]:
    """What each member says that it is."""
    return {
        name: str(caller.ask("/api/v2/status").json()["versionInfo"]["version"]).partition("+")[0]
        for name, caller in callers(target, PROTOCOL).items()
    }
