"""Graphs of ONNX for tests, written as the bytes that they are: the standard library alone.

The numbers of the fields are those of the public description of the format (onnx.proto). The package `onnx` would bring
the same by some megabytes, into an environment that needs it nowhere else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

#: Types of an element.
FLOAT, INT32, INT64, STRING, BOOL, FLOAT16, COMPLEX64 = 1, 6, 7, 8, 9, 10, 14
ML, MICROSOFT = "ai.onnx.ml", "com.microsoft"
#: What each domain's operators mean.
VERSIONS = {"": 20, ML: 3, MICROSOFT: 1}
IR = 9
Dimension = int | str
Value = int | float | str | Sequence[int] | Sequence[float] | Sequence[str]


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _number(at: int, value: int) -> bytes:
    return _varint(at << 3) + _varint(value)


def _real(at: int, value: float) -> bytes:
    return _varint(at << 3 | 5) + struct.pack("<f", value)


def _bytes(at: int, value: bytes | str) -> bytes:
    content = value.encode() if isinstance(value, str) else value
    return _varint(at << 3 | 2) + _varint(len(content)) + content


@dataclass(frozen=True)
class Port:
    """An input or an output: a tensor; with `sequence` a list of tensors; with `maps` one of maps from `element` to
    numbers."""

    name: str
    element: int
    shape: Sequence[Dimension] = ()
    maps: bool = False
    sequence: bool = False

    def encoded(self) -> bytes:
        """As ValueInfoProto."""
        dims = b"".join(_bytes(1, _bytes(2, d) if isinstance(d, str) else _number(1, d)) for d in self.shape)
        told = _bytes(1, _number(1, self.element) + _bytes(2, dims))
        if self.sequence:
            told = _bytes(4, _bytes(1, told))
        if self.maps:
            told = _bytes(4, _bytes(1, _bytes(5, _number(1, self.element) + _bytes(2, _bytes(1, _number(1, FLOAT))))))
        return _bytes(1, self.name) + _bytes(2, told)


@dataclass(frozen=True)
class Constant:
    """A tensor that the graph holds; `beside`: its values stand in that file, as they are in memory."""

    name: str
    element: int
    shape: Sequence[int]
    values: Sequence[float] | Sequence[str] = ()
    beside: str = ""

    def encoded(self) -> bytes:
        """As TensorProto."""
        return b"".join((*(_number(1, d) for d in self.shape), _number(2, self.element), *self._values())) + _bytes(
            8, self.name
        )

    def _values(self) -> Iterable[bytes]:
        if self.beside:
            yield _bytes(13, _bytes(1, "location") + _bytes(2, self.beside)) + _number(14, 1)
        for each in self.values:
            if isinstance(each, str):
                yield _bytes(6, each)
            elif self.element == FLOAT:
                yield _real(4, float(each))
            else:
                yield _number(7, int(each))


@dataclass(frozen=True)
class Node:
    """An operator between names."""

    operator: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    domain: str = ""
    attributes: dict[str, Value] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """As NodeProto; it is called as its first output."""
        ends = (*(_bytes(1, each) for each in self.inputs), *(_bytes(2, each) for each in self.outputs))
        more = b"".join(_bytes(5, _attribute(name, value)) for name, value in self.attributes.items())
        return b"".join(ends) + _bytes(3, self.outputs[0]) + _bytes(4, self.operator) + more + _bytes(7, self.domain)


def _attribute(name: str, value: Value) -> bytes:
    """As AttributeProto."""
    one = _bytes(1, name)
    if isinstance(value, int):
        return one + _number(3, value) + _number(20, 2)
    if isinstance(value, float):
        return one + _real(2, value) + _number(20, 1)
    if isinstance(value, str):
        return one + _bytes(4, value) + _number(20, 3)
    if all(isinstance(each, str) for each in value):
        return one + b"".join(_bytes(9, str(each)) for each in value) + _number(20, 8)
    if all(isinstance(each, int) for each in value):
        return one + b"".join(_number(8, int(each)) for each in value) + _number(20, 7)
    return one + b"".join(_real(7, float(each)) for each in value) + _number(20, 6)


def written(
    inputs: Sequence[Port], outputs: Sequence[Port], nodes: Sequence[Node], constants: Sequence[Constant] = ()
) -> bytes:
    """A whole model."""
    graph = b"".join((
        *(_bytes(1, each.encoded()) for each in nodes),
        _bytes(2, "graph"),
        *(_bytes(5, each.encoded()) for each in constants),
        *(_bytes(11, each.encoded()) for each in inputs),
        *(_bytes(12, each.encoded()) for each in outputs),
    ))  # fmt: skip
    versions = (_bytes(8, _bytes(1, domain) + _number(2, version)) for domain, version in VERSIONS.items())
    return _number(1, IR) + _bytes(2, "tests") + _bytes(7, graph) + b"".join(versions)


def words(labels: Sequence[str] | Sequence[int] = ("no", "yes"), *, maps: bool = False, flat: bool = False) -> bytes:
    """A model that reads texts, [rows, 1] or with `flat` [rows], by the operators that skl2onnx takes: each "good" in
    one speaks for the second label, each "bad" for the first. It says a label for each row, and how probable each one
    is; `maps`: as maps."""
    kind = STRING if isinstance(labels[0], str) else INT64
    pool = ["good", "bad"]
    known: Value = labels
    nodes = [
        Node("Reshape", ["text", "column"], ["each"]),
        Node("StringNormalizer", ["each"], ["small"], "", {"case_change_action": "LOWER"}),
        # A word is what stands between blanks.
        Node("Tokenizer", ["small"], ["words"], MICROSOFT, {
            "mark": 0, "mincharnum": 1, "pad_value": "#", "separators": [" "],
        }),
        Node("TfIdfVectorizer", ["words"], ["counts"], "", {
            "mode": "TF", "min_gram_length": 1, "max_gram_length": 1, "max_skip_count": 0,
            "ngram_counts": [0], "ngram_indexes": [0, 1], "pool_strings": pool,
        }),
        Node("MatMul", ["counts", "weights"], ["scores"]),
        Node("Softmax", ["scores"], ["chances"], "", {"axis": 1}),
        Node("ArgMax", ["chances"], ["place"], "", {"axis": 1, "keepdims": 0}),
        Node("Gather", ["labels", "place"], ["label"]),
        Node("ZipMap", ["chances"], ["probabilities"], ML, {
            "classlabels_strings" if kind == STRING else "classlabels_int64s": known,
        }) if maps else Node("Identity", ["chances"], ["probabilities"]),
    ]  # fmt: skip
    return written(
        [Port("text", STRING, ("rows",) if flat else ("rows", 1))],
        [Port("label", kind, ("rows",)), Port("probabilities", kind if maps else FLOAT, ("rows", 2), maps=maps)],
        nodes,
        [
            Constant("column", INT64, (1,), (-1,)),
            Constant("weights", FLOAT, (2, 2), (-1, 1, 1, -1)),
            Constant("labels", kind, (2,), labels),
        ],
    )


def echo(element: int, *, to: int = 0) -> bytes:
    """A graph that says what it hears, [rows, 1]; `to`: as elements of another type."""
    node = Node("Cast", ["heard"], ["said"], "", {"to": to}) if to else Node("Identity", ["heard"], ["said"])
    return written([Port("heard", element, ("rows", 1))], [Port("said", to or element, ("rows", 1))], [node])
