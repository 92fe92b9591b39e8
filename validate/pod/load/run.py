"""Load from the probe pod: certify the generator here and now, then drive a store's operation.

`python3 -m validate.pod load --order JSON`, where JSON is {"order": Order, "certify":
bool}; prints each certificate as a check, {"kind": "progress"} once a second, and
{"kind": "outcome"} in the end, or {"kind": "failed", "why"}. `load --run RUN` ends it early.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from components.kit.probing import Verdict
from validate.pod import targets
from validate.pod.errors import NotValidError
from validate.pod.load import certify, pool
from validate.pod.load.ledger import Ledger
from validate.pod.load.worker import Order
from validate.pod.smoke import emit, emit_check

FOLDER = targets.WORK / "load"


def load(wish: str) -> None:
    """The whole run; nothing is sent to the store by a generator without a certificate."""
    asked: dict[str, Any] = json.loads(wish)
    order = Order.of(asked["order"])
    rate = max(order.schedule.rate, order.schedule.end_rate or 0)
    each = pool.HTTP_A_PROCESS if order.request else pool.CALLS_A_PROCESS
    processes = pool.processes_for(rate, each)
    FOLDER.mkdir(exist_ok=True)
    try:
        if asked["certify"] and not _certified(order.room, rate / processes):
            return
        outcome = pool.run(_with_ca(order), processes, lambda at, led: _told(order.run, at, led))
    except NotValidError as error:
        emit({"kind": "failed", "why": str(error)})
        return
    emit({"kind": "outcome", **outcome.as_dict()})


def _certified(room: str, rate: float) -> bool:
    made = certify.certify(rate, certify.BRIEF, told=lambda check: emit_check(room, check))
    return all(one.check().verdict is Verdict.PASS for one in made)


def _with_ca(order: Order) -> Order:
    """An https address of the room is trusted by the CA that is mounted here."""
    if order.request is None or not order.request.url.startswith("https:"):
        return order
    mounted = targets.target(order.room).ca_file
    return replace(order, request=replace(order.request, ca_file=mounted))


def _told(run: str, at: float, ledger: Ledger) -> str:
    record = ledger.as_dict()
    record["windows"] = {}  # percentiles are read at the end
    emit({"kind": "progress", "at_s": round(at, 3), "ledger": record})
    return "asked to stop" if (FOLDER / f"{run}.stop").exists() else ""


def stop(run: str) -> None:
    """Ends the run early; what is outstanding is still waited for."""
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{run}.stop").touch()
    emit({"kind": "stopping", "run": run})
