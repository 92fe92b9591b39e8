"""A graph of ONNX, run by ONNX Runtime on processors alone.

Its library is read where a graph is served and nowhere else. It has as many threads as the container may use whole
cores, which wait without spinning, and it writes nothing: what it would say may hold what was asked.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy

from components.kserve.image.server.counters import CGROUP
from components.kserve.image.server.ports import ANY, FLAG, KINDS, TEXT, Output, Port, QuestionError, Shape, taken

SUFFIX = ".onnx"
#: The runtime's words for tensors, and the protocol's.
TENSORS = {f"tensor({kind})": name for name, kind in KINDS.items() if not kind.startswith(("float", "object"))}
TENSORS |= {"tensor(float16)": "FP16", "tensor(float)": "FP32", "tensor(double)": "FP64", "tensor(string)": TEXT}
#: What the operator ZipMap leaves: for each row its classes and how probable each one is.
MAPS = ("seq(map(string,tensor(float)))", "seq(map(int64,tensor(float)))")
REALS, HALF = ("FP32", "FP64"), {"FP16": "FP32"}
CLASSES = "classes"  # parameter of such an output
SUM = 0.01  # by so much a row's probabilities may miss 1: half a percent of FP16, and then some
SILENT = 4  # the runtime's level of what is logged: what ends the process
#: A node that fails: what it does, and how the graph calls it.
_NODE = re.compile(r"while running (\w{1,60}) node\. Name:'([^']{0,100})'")
_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
MEMORY = ("bad_alloc", "llocate memory")


class GraphError(Exception):
    """A graph can't be served; every reason."""


def cores(root: Path = CGROUP) -> int:
    """Whole cores that this container may use, at least one, as the kernel says; without a limit: one."""
    for name, period in (("cpu.max", ""), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            told = (root / name).read_text(encoding="ascii").split()
            told += (root / period).read_text(encoding="ascii").split() if period else []
            return max(1, int(told[0]) // int(told[1]))
        except (OSError, ValueError, IndexError):
            continue
    return 1


class Graph:
    """One graph. Raises GraphError."""

    def __init__(self, file: Path) -> None:
        self._session = _session(file)
        self._maps = [each.type in MAPS for each in self._session.get_outputs()]
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if wrong := [*_wrong("input", inputs, ()), *_wrong("output", outputs, MAPS)]:
            raise GraphError(f"{file.name} can't be served: {'; '.join(wrong)}")
        self.inputs = [_port(each) for each in inputs]
        # JSON has no numbers of half precision.
        self.outputs = [replace(each, datatype=HALF.get(each.datatype, each.datatype)) for each in map(_port, outputs)]
        self.metadata = [each.metadata() for each in self.inputs], [each.metadata() for each in self.outputs]
        self.classes = numpy.empty(0, KINDS[self.outputs[0].datatype])  # which ones the graph does not say
        tables = [at for at, each in enumerate(self.outputs) if each.datatype in REALS and len(each.shape) == 2]
        self._sure = [at for at in tables if at]  # the first one is the answer

    def rows(self, payload: Any) -> dict[str, Any]:
        """Arrays by the names of the inputs. Raises QuestionError."""
        return taken(self.inputs, payload)

    def measured(self, rows: dict[str, Any]) -> Any:
        """Columns of all inputs, one after the other; a text is no number, and nothing of it is here. None: there is no
        number."""
        if len({len(each) if each.ndim else 0 for each in rows.values()}) != 1:
            return None
        tables = [each.reshape(len(each), -1) for each in rows.values() if each.ndim]
        if all(each.dtype == object for each in tables):
            return None
        if len(tables) == 1:
            return tables[0]
        return numpy.hstack([numpy.full(each.shape, numpy.nan) if each.dtype == object else each for each in tables])

    def answers(self, rows: dict[str, Any]) -> list[Output]:
        """Of all outputs. Raises QuestionError: some node can't take these values; RuntimeError: it fails otherwise."""
        try:
            found = self._session.run(None, rows)
        except Exception as error:  # noqa: BLE001  its own kinds are exceptions and nothing more
            raise _failed(error) from None
        return [_output(*each) for each in zip(self.outputs, self._maps, found, strict=True)]

    def chances(self, rows: dict[str, Any], answers: Sequence[Output]) -> Any:
        """Of the one output that can be it. Raises RuntimeError: it holds no probabilities."""
        del rows
        (at,) = self._sure
        found = answers[at].values.astype(float)
        known = found[~numpy.isnan(found).any(axis=1)]
        if (known < 0).any() or (abs(known.sum(axis=1) - 1) > SUM).any():
            raise RuntimeError(f"the output {answers[at].name!r} is to be probabilities, from 0 to 1 and 1 together")
        return found

    def unsure(self) -> str:
        """A label for each row, and the probabilities of the classes beside it."""
        first = self.outputs[0]
        if len(self._sure) == 1 and first.datatype != FLAG and len(first.shape) == 1:
            return ""
        outputs = ", ".join(map(str, self.outputs))
        return f"its outputs are {outputs}; allowed: first a label [rows], then one of probabilities [rows, classes]"

    def unfit(self, columns: int) -> str:
        """They come as one tensor."""
        first, *more = self.inputs
        width = first.shape[1] if len(first.shape) == 2 else 1 if len(first.shape) == 1 else ANY
        if not more and len(first.shape) <= 2 and (width == columns or isinstance(width, str)):
            return ""
        return f"its inputs are {', '.join(map(str, self.inputs))}; allowed: one of [any, {columns}]"


def _session(file: Path) -> Any:
    runtime = importlib.import_module("onnxruntime")
    runtime.disable_telemetry_events()
    runtime.set_default_logger_severity(SILENT)
    options = runtime.SessionOptions()
    options.log_severity_level = SILENT
    options.intra_op_num_threads, options.inter_op_num_threads = cores(), 1
    # What one large question needed is given back after it.
    options.enable_cpu_mem_arena = False
    for pool in ("intra", "inter"):
        options.add_session_config_entry(f"session.{pool}_op.allow_spinning", "0")
    try:
        return runtime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  its own kinds are exceptions and nothing more
        told = _CODE.sub("", (str(error).splitlines() or [""])[0])
        raise GraphError(f"{file.name} is no graph that runs here: {type(error).__name__}: {told[:500]}") from None


def _wrong(what: str, ends: Sequence[Any], more: Sequence[str]) -> Iterator[str]:
    if not ends:
        yield f"it has no {what}"
    for each in ends:
        if each.type not in (*TENSORS, *more):
            also = ", or the lists of maps that ZipMap leaves" if more else ""
            yield f"{what} {each.name!r} is {each.type}; allowed: tensors of numbers, flags or texts{also}"


def _port(end: Any) -> Port:
    if end.type in MAPS:
        return Port(end.name, "FP32", (ANY, ANY))
    return Port(end.name, TENSORS[end.type], _shape(end.shape))


def _shape(told: Sequence[Any]) -> Shape:
    return tuple(each if isinstance(each, str) or (isinstance(each, int) and each > 0) else ANY for each in told)


def _output(port: Port, maps: bool, found: Any) -> Output:
    if maps:
        classes = list(found[0])
        table = numpy.array([[row[each] for each in classes] for row in found], numpy.float32)
        return Output(port.name, table, {CLASSES: json.dumps(classes)})
    return Output(port.name, found.astype(KINDS[port.datatype], copy=False))


def _failed(error: Exception) -> Exception:
    """The node that failed; not what the runtime says of it, for that may hold what was asked."""
    node, kind = _NODE.search(str(error)), type(error).__name__
    where = f"{kind} in its node {node[2]!r} ({node[1]})" if node else kind
    memory = any(word in str(error) for word in MEMORY)
    if (node and not memory) or kind == "InvalidArgument":
        return QuestionError(f"the graph can't take these values: {where}")
    return RuntimeError(f"the graph failed: {where}")
