"""Questions and answers of the Open Inference Protocol as gRPC carries them. Pure.

A message becomes the question that JSON would have made of it, and an answer is what JSON would have said, in other
bytes. So a model hears and says the same, whichever way it was asked.
"""

from __future__ import annotations

import importlib
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import kserve
from google.protobuf.message import DecodeError
from kserve.constants.constants import GRPC_CONTENT_DATATYPE_MAPPINGS as FIELDS
from kserve.errors import InvalidInput
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages
from kserve.utils.numpy_codec import to_np_dtype

BYTES = "BYTES"
LENGTH = struct.Struct("<I")  # before each of the raw texts
Message = Any  # protobuf makes the classes when they are imported


def read(kind: Any, body: bytes) -> Message:
    """A message of that kind. Raises InvalidInput."""
    try:
        return kind.FromString(body)
    except DecodeError:
        raise InvalidInput(f"what was sent is no {kind.DESCRIPTOR.name}") from None


def question(told: Message) -> kserve.InferRequest:
    """As REST makes it. Raises InvalidInput: there is no tensor, or its content is not what it says."""
    if not told.inputs:
        raise InvalidInput("the question has no input; allowed: one tensor or more in inputs")
    raw = list(told.raw_input_contents)
    if raw and len(raw) != len(told.inputs):
        raise InvalidInput(f"{len(told.inputs)} inputs and {len(raw)} raw_input_contents; allowed: as many, or none")
    inputs = [
        kserve.InferInput(each.name, list(each.shape), each.datatype, _data(each, raw[at] if raw else None))
        for at, each in enumerate(told.inputs)
    ]
    wanted = [kserve.protocol.infer_type.RequestedOutput(each.name, {}) for each in told.outputs]
    return kserve.InferRequest(
        told.model_name,
        inputs,
        request_id=told.id or None,
        parameters=_parameters(told.parameters),
        request_outputs=wanted or None,
    )


def _data(tensor: Message, raw: bytes | None) -> Any:
    field = FIELDS.get(tensor.datatype)
    there = [each.name for each, _ in tensor.contents.ListFields()]
    if raw is not None:
        if there:
            raise InvalidInput(f"input {tensor.name!r} has {there[0]} beside raw_input_contents; allowed: one of them")
        return _raw(tensor, raw)
    if field is None:
        allowed = "with raw_input_contents" if to_np_dtype(tensor.datatype) else f"allowed: {', '.join(FIELDS)}"
        raise InvalidInput(f"input {tensor.name!r} has the datatype {tensor.datatype!r}; {allowed}")
    if wrong := [name for name in there if name != field]:
        raise InvalidInput(f"input {tensor.name!r} is {tensor.datatype} and has {wrong[0]}; allowed: {field}")
    values = getattr(tensor.contents, field)
    if len(values) != math.prod(tensor.shape):
        raise InvalidInput(f"input {tensor.name!r} has {len(values)} values, its shape is {list(tensor.shape)}")
    return _words(tensor, values) if tensor.datatype == BYTES else list(values)


def _raw(tensor: Message, raw: bytes) -> Any:
    kind = to_np_dtype(tensor.datatype)
    if kind is None:
        raise InvalidInput(f"input {tensor.name!r} has the datatype {tensor.datatype!r}; allowed: {', '.join(FIELDS)}")
    if tensor.datatype == BYTES:
        return _words(tensor, _split(tensor, raw))
    numpy = importlib.import_module("numpy")
    wanted = math.prod(tensor.shape) * numpy.dtype(kind).itemsize
    if len(raw) != wanted:
        said = f"{tensor.datatype} of shape {list(tensor.shape)}"
        raise InvalidInput(f"input {tensor.name!r} has {len(raw)} raw bytes; {said} is {wanted}")
    # Of their own: what stands in a message can't be written, and a model may want to.
    return numpy.frombuffer(raw, dtype=numpy.dtype(kind).newbyteorder("<")).astype(kind)


def _split(tensor: Message, raw: bytes) -> Iterator[bytes]:
    """Each text stands behind its length, of four bytes."""
    at = 0
    while at < len(raw):
        end = at + LENGTH.size
        end += LENGTH.unpack_from(raw, at)[0] if end <= len(raw) else 1
        if end > len(raw):
            raise InvalidInput(f"input {tensor.name!r} has {len(raw)} raw bytes, and a text in them ends behind them")
        yield raw[at + LENGTH.size : end]
        at = end


def _words(tensor: Message, values: Any) -> list[str]:
    """JSON has no other texts."""
    try:
        found = [each.decode("utf-8") for each in values]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"input {tensor.name!r} holds a text that is no UTF-8: {error.reason}") from None
    if len(found) != math.prod(tensor.shape):
        raise InvalidInput(f"input {tensor.name!r} has {len(found)} values, its shape is {list(tensor.shape)}")
    return found


def _parameters(told: Mapping[str, Message]) -> dict[str, Any]:
    return {name: getattr(each, each.WhichOneof("parameter_choice") or "string_param") for name, each in told.items()}


def answer(found: kserve.InferResponse, *, raw: bool) -> Message:
    """As REST tells it; `raw`: in bytes, as it was asked. Raises InvalidInput: an output that is wanted is none."""
    told, _ = found.to_rest()
    made = messages.ModelInferResponse(
        model_name=told["model_name"], model_version=told["model_version"] or "", id=told["id"] or ""
    )
    for name, value in told.get("parameters", {}).items():
        made.parameters[name].CopyFrom(_parameter(value))
    for each in told["outputs"]:
        output = made.outputs.add(name=each["name"], datatype=each["datatype"], shape=each["shape"])
        for name, value in each.get("parameters", {}).items():
            output.parameters[name].CopyFrom(_parameter(value))
        values = [_encoded(value) for value in each["data"]] if each["datatype"] == BYTES else each["data"]
        if raw:
            made.raw_output_contents.append(_packed(each["datatype"], values))
        else:
            getattr(output.contents, FIELDS[each["datatype"]]).extend(values)
    return made


def _parameter(value: Any) -> Message:
    """A number with a point is told as text: the protocol has no field for it."""
    if isinstance(value, bool):
        return messages.InferParameter(bool_param=value)
    if isinstance(value, int):
        return messages.InferParameter(int64_param=value)
    return messages.InferParameter(string_param=str(value))


def _encoded(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _packed(datatype: str, values: Any) -> bytes:
    if datatype == BYTES:
        return b"".join(LENGTH.pack(len(each)) + each for each in values)
    numpy = importlib.import_module("numpy")
    found: bytes = numpy.asarray(values, dtype=numpy.dtype(to_np_dtype(datatype)).newbyteorder("<")).tobytes()
    return found
