"""The bytes by which Feast finds an entity, and those in which it keeps values: its key of version 3, and its `Map` of
protobuf. Feast itself is 400 MB; tests hold this against its own functions. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping

from components.streaming.worker.records import Row, Value, View
from components.streaming.worker.replacing import Held

STRING, INT64 = 2, 4  # Feast's ValueType
PROJECT = "platform"
#: Field of `Value`, and its wire type: 0 a varint, 1 eight bytes, 2 bytes with their length.
KINDS = {"string": (2, 2), "int64": (4, 0), "float64": (5, 1), "bool": (7, 0)}


def key(prefix: str, view: View, entity: str | int) -> bytes:
    """Of one entity of one view."""
    name = view.key.encode()
    if isinstance(entity, int):
        kind, value = INT64, struct.pack("<q", entity)
    else:
        kind, value = STRING, entity.encode()
    head = struct.pack("<III", 1, STRING, len(name)) + name
    return f"{prefix}:{PROJECT}:{view.name}:".encode() + head + struct.pack("<II", kind, len(value)) + value


def content(view: View, values: tuple[Value, ...]) -> bytes:
    """All values, by feature."""
    pairs = sorted(zip(view.features, values, strict=True), key=lambda pair: pair[0].name)
    return b"".join(_field(1, _field(1, each.name.encode()) + _field(2, _value(each.type, v))) for each, v in pairs)


def held(prefix: str, known: Mapping[str, View], rows: list[Row]) -> Iterator[Held]:
    """As the online store keeps them."""
    for row in rows:
        view = known[row.view]
        until_ms = row.at // 1000 + view.ttl_hours * 3_600_000
        yield Held(key(prefix, view, row.entity), (row.at, row.created), content(view, row.values), until_ms)


def fence(prefix: str) -> str:
    """The key that changes with each write."""
    return f"{prefix}:{PROJECT}::fence"


def _value(kind: str, value: Value) -> bytes:
    if value is None:
        return b""
    field, wire = KINDS[kind]
    tag = _varint(field << 3 | wire)
    if isinstance(value, str):
        text = value.encode()
        return tag + _varint(len(text)) + text
    return tag + (struct.pack("<d", value) if wire == 1 else _varint(int(value) & (1 << 64) - 1))


def _field(number: int, text: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(text)) + text


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)
