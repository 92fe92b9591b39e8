"""Rooms that lack something, and copies that are none."""

from __future__ import annotations

from typing import Any

from tests.toy.defect import Defect, served_by, told
from tests.toy.plan import Plan
from tests.toy.running import ROOMS
from tests.toy.stores import Kv
from validate.core import causes

BACKUP, COVERAGE = ("smoke/", "backup/"), ("smoke/", "coverage/", "safety/kv/objects")


class SavesPart(Kv):
    """Asked for many values, it answers with the first half and says nothing."""

    async def op_many(self, request: dict[str, Any]) -> dict[str, Any]:
        keys = request["keys"]
        half = len(keys) // 2
        answer = await super().op_many({"keys": keys[:half]})
        return {"values": answer["values"] + [None] * (len(keys) - half)}


def _changed_backup(old: str, new: str) -> str:
    text = (ROOMS / "kv" / "backup.py").read_text()
    if text.count(old) != 1:
        raise ValueError(f"kv/backup.py has no single {old!r} to change")
    return text.replace(old, new)


def _empty_backup(plan: Plan) -> None:
    plan.rooms["kv/backup.py"] = _changed_backup(
        "saving.put_lines(folder / FILE, records())", "saving.put_lines(folder / FILE, [])"
    )


def _cut_backup(plan: Plan) -> None:
    plan.rooms["kv/backup.py"] = _changed_backup(
        "    client.close()\n    return saving.seal(folder)",
        "    client.close()\n    told = saving.seal(folder)\n"
        "    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:-100])\n    return told",
    )


def _no_probe(plan: Plan) -> None:
    plan.rooms["log/probe.py"] = None


def _no_faults(plan: Plan) -> None:
    plan.rooms["kv/faults.yaml"] = None


def _no_backup(plan: Plan) -> None:
    plan.rooms["kv/backup.py"] = None


def _no_alerts(plan: Plan) -> None:
    plan.rooms["kv/alerts.yaml"] = None


def _silent_disk(plan: Plan) -> None:
    text = (ROOMS / "kv" / "alerts.yaml").read_text()
    plan.rooms["kv/alerts.yaml"] = text.replace("cause: disk-full", "cause: slow-tail")


DEFECTS = (
    Defect(
        "empty-backup", "a backup without content, well sealed", _empty_backup, (causes.BACKUP_USELESS,), look=BACKUP
    ),
    Defect("cut-backup", "a backup whose last bytes are missing", _cut_backup, (causes.BACKUP_USELESS,), look=BACKUP),
    Defect(
        "half-backup", told(SavesPart), served_by(SavesPart), (causes.BACKUP_USELESS, causes.CORRUPT_DATA), look=BACKUP
    ),
    Defect("no-probe", "a component that nobody can prove", _no_probe, (causes.NOT_COVERED,), ("log",), COVERAGE),
    Defect("no-faults", "a component that nobody breaks", _no_faults, (causes.NOT_COVERED,), look=COVERAGE),
    Defect(
        "no-backup", "a backup in the contract and none in the room", _no_backup, (causes.NOT_COVERED,), look=COVERAGE
    ),
    Defect("no-alerts", "nobody is told of anything", _no_alerts, (causes.NOT_COVERED, causes.NO_ALERT), look=COVERAGE),
    Defect("no-disk-alert", "nobody is told of a full disk", _silent_disk, (causes.NO_ALERT,), look=COVERAGE),
)
