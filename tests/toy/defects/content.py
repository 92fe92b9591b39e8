"""Stores that give back something else, or nothing, or keep what they should let go."""

from __future__ import annotations

import asyncio
import base64
import os
from typing import Any

from tests.toy.defect import Defect, served_by, told
from tests.toy.plan import Plan
from tests.toy.stores import Kv, Log
from validate.core import causes

VALUES = ("smoke/", "safety/kv/ways-in")
WORK = ("smoke/", "safety/kv/repeated-work")
AUDIT = ("smoke/", "audit/")


class Truncates(Kv):
    """Values are cut at 64 KiB, and nobody is told."""

    def apply(self, index: int, command: Any) -> Any:
        if "value" in command:
            kept = base64.b64decode(command["value"])[:65_536]
            command = {**command, "value": base64.b64encode(kept).decode()}
        return super().apply(index, command)


class Corrupts(Kv):
    """One byte of a large value is flipped on its way out, at one of the members."""

    async def op_get(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = await super().op_get(request)
        raw = bytearray(base64.b64decode(answer["value"] or ""))
        if len(raw) > 50_000 and self.config.name.endswith("-1"):
            raw[40_000] ^= 1
            answer = {"value": base64.b64encode(raw).decode()}
        return answer


class Stale(Kv):
    """Reads are answered from what a member happens to have, and followers lag."""

    async def fresh(self) -> None:
        return

    def apply(self, index: int, command: Any) -> Any:
        if self.raft.role == "leader":
            return super().apply(index, command)
        asyncio.get_running_loop().call_later(0.7, super().apply, index, command)
        return None


class Forgets(Kv):
    """One acknowledged write of two hundred is not kept."""

    def apply(self, index: int, command: Any) -> Any:
        if index % 199 == 150 and "value" in command:
            return index
        return super().apply(index, command)


class Repeats(Log):
    """Every hundredth record is stored twice."""

    def apply(self, index: int, command: Any) -> Any:
        place = super().apply(index, command)
        if index % 100 == 50:
            self.records.append(command["record"])
        return place


class Reorders(Log):
    """A record now and then changes places with one before it."""

    def apply(self, index: int, command: Any) -> Any:
        place = super().apply(index, command)
        if index % 50 == 25 and len(self.records) > 12:
            self.records[-1], self.records[-12] = self.records[-12], self.records[-1]
        return place


class LeaksMemory(Kv):
    """Each connection leaves 200 KB behind."""

    kept: list[bytes] = []  # noqa: RUF012  that is the leak

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.kept.append(os.urandom(200_000))
        await super()._converse(reader, writer)


class LeaksFiles(Kv):
    """Each connection leaves an open file behind."""

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        os.open(os.devnull, os.O_RDONLY)
        await super()._converse(reader, writer)


class Crashes(Kv):
    """A line that is not JSON ends the process."""

    def parsed(self, line: bytes) -> Any:
        try:
            return super().parsed(line)
        except ValueError:
            os._exit(3)


class TakesAll(Kv):
    """Values beyond the documented size are taken and kept empty."""

    async def op_put(self, request: dict[str, Any]) -> dict[str, Any]:
        if len(str(request.get("value", ""))) > 600_000:
            request = {**request, "value": ""}
        return await super().op_put(request)


def _old_version(plan: Plan) -> None:
    plan.of("kv")[2].version = "1.3.9"


DEFECTS = (
    Defect("truncates-values", told(Truncates), served_by(Truncates), (causes.CORRUPT_DATA,), look=VALUES),
    Defect("corrupts-values", told(Corrupts), served_by(Corrupts), (causes.CORRUPT_DATA,), look=VALUES),
    Defect("crashes-on-bad-input", told(Crashes), served_by(Crashes), (causes.BAD_INPUT,), look=VALUES),
    Defect("takes-oversize", told(TakesAll), served_by(TakesAll), (causes.BAD_INPUT,), look=VALUES),
    Defect(
        "old-version",
        "one member runs another version than the contract says",
        _old_version,
        (causes.WRONG_VERSION,),
        look=VALUES,
    ),
    Defect("leaks-memory", told(LeaksMemory), served_by(LeaksMemory), (causes.LEAK,), look=WORK),
    Defect("leaks-files", told(LeaksFiles), served_by(LeaksFiles), (causes.LEAK,), look=WORK),
    Defect("stale-reads", told(Stale), served_by(Stale), (causes.STALE_READS,), look=AUDIT),
    Defect("forgets-writes", told(Forgets), served_by(Forgets), (causes.LOST_WRITES,), look=AUDIT),
    Defect("repeats-records", told(Repeats), served_by(Repeats, "log"), (causes.DUPLICATED_WRITES,), ("log",), AUDIT),
    Defect("reorders-records", told(Reorders), served_by(Reorders, "log"), (causes.REORDERED_WRITES,), ("log",), AUDIT),
)
