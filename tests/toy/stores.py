"""The toy's stores: a log in order, a map of keys to values."""

from __future__ import annotations

import base64
from typing import Any

from tests.toy.member import Config, Store

LARGEST = 1 << 20  # bytes of a value


class Log(Store):
    """Appends records; each client's come in its own order, each once however often it tries."""

    def __init__(self, config: Config) -> None:
        self.records: list[str] = []
        self._known: dict[str, int] = {}
        super().__init__(config)

    def apply(self, index: int, command: Any) -> Any:
        if "drop" in command:
            self.records = [r for r in self.records if not r.startswith(command["drop"])]
            return len(self.records)
        record = command["record"]
        if record not in self._known:
            self._known[record] = len(self.records)
            self.records.append(record)
        return self._known[record]

    async def op_add(self, request: dict[str, Any]) -> dict[str, Any]:
        record = str(request["record"])
        if len(record) > LARGEST:
            raise ValueError(f"a record of {len(record)} characters; at most {LARGEST}")
        return {"offset": await self.raft.propose({"record": record})}

    async def op_drop(self, request: dict[str, Any]) -> dict[str, Any]:
        """All records that begin so."""
        return {"left": await self.raft.propose({"drop": str(request["prefix"])})}

    async def op_read(self, request: dict[str, Any]) -> dict[str, Any]:
        await self.fresh()
        begin = int(request.get("from", 0))
        prefix = str(request.get("prefix", ""))
        found = [r for r in self.records[begin : begin + 5000] if r.startswith(prefix)]
        return {"records": found, "next": min(begin + 5000, len(self.records)), "end": len(self.records)}


class Kv(Store):
    """Keys and values; a read, by any member, holds every write acknowledged before it began."""

    def __init__(self, config: Config) -> None:
        self.values: dict[str, str] = {}
        super().__init__(config)

    def apply(self, index: int, command: Any) -> Any:
        if "drop" in command:
            gone = [key for key in self.values if key.startswith(command["drop"])]
            for key in gone:
                del self.values[key]
            return len(gone)
        self.values[command["key"]] = command["value"]
        return index

    async def op_put(self, request: dict[str, Any]) -> dict[str, Any]:
        value = str(request["value"])
        if len(base64.b64decode(value, validate=True)) > LARGEST:
            raise ValueError(f"a value of more than {LARGEST} bytes")
        wanted = {"key": str(request["key"]), "value": value}
        return {"index": await self.raft.propose(wanted)}

    async def op_get(self, request: dict[str, Any]) -> dict[str, Any]:
        await self.fresh()
        return {"value": self.values.get(str(request["key"]))}

    async def op_many(self, request: dict[str, Any]) -> dict[str, Any]:
        await self.fresh()
        return {"values": [self.values.get(str(key)) for key in request["keys"]]}

    async def op_drop(self, request: dict[str, Any]) -> dict[str, Any]:
        """All keys that begin so."""
        return {"dropped": await self.raft.propose({"drop": str(request["prefix"])})}

    async def op_keys(self, request: dict[str, Any]) -> dict[str, Any]:
        await self.fresh()
        prefix = str(request.get("prefix", ""))
        return {"keys": sorted(k for k in self.values if k.startswith(prefix))}
