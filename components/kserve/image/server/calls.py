"""The Open Inference Protocol by gRPC, beside REST: the same models, in the same event loop.

The descriptions of the messages are those that KServe's library brings; its own service is not used, because it lets
whoever asks unload a model, and counts nothing. A question that fails ends with the status that stands for REST's:

    400 INVALID_ARGUMENT    404 NOT_FOUND    422 FAILED_PRECONDITION
    500 INTERNAL            501 UNIMPLEMENTED    503 UNAVAILABLE

What is larger than a question may be is refused by gRPC itself, RESOURCE_EXHAUSTED, and is counted by nobody here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import kserve
from grpc import StatusCode
from kserve.errors import InvalidInput, ModelNotFound, ModelNotReady
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc import grpc_predict_v2_pb2 as messages

from components.kserve.image.server import tensors
from components.kserve.image.server.answers import ASKED, REQUEST_ID, marking
from components.kserve.image.server.counters import FAILED, Counters
from components.kserve.image.server.lookups import UNAVAILABLE, UNKNOWN, RefusedError
from components.kserve.image.server.tensors import Message

SERVICE = "inference.GRPCInferenceService"
ENDS_SECONDS = 10.0  # for those who are asked already when the server ends
OK = 200
#: What goes wrong: its status of HTTP, by which answers are counted, and of gRPC.
FAULTS: tuple[tuple[type[Exception], int, StatusCode], ...] = (
    (InvalidInput, 400, StatusCode.INVALID_ARGUMENT),
    (ModelNotFound, 404, StatusCode.NOT_FOUND),
    (ModelNotReady, 503, StatusCode.UNAVAILABLE),
    (NotImplementedError, 501, StatusCode.UNIMPLEMENTED),
    (Exception, FAILED, StatusCode.INTERNAL),
)
#: Of a right question that can't be answered now.
REFUSED = {UNKNOWN: StatusCode.FAILED_PRECONDITION, UNAVAILABLE: StatusCode.UNAVAILABLE}
Answering = Callable[[bytes, Any], Awaitable[Message]]


class Calls:
    """The service of one process. `counters`: of each model by its name, the release's own first."""

    def __init__(self, plane: DataPlane, counters: Mapping[str, Counters]) -> None:
        self._plane, self._counters = plane, counters
        self._server: Any = None

    async def serve(self, port: int, most: int) -> None:
        """Answer until `stop`; questions have at most `most` bytes."""
        options = [
            ("grpc.max_receive_message_length", most),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((self._handlers(),))
        self._server.add_insecure_port(f"0.0.0.0:{port}")
        await self._server.start()
        await self._server.wait_for_termination()

    async def stop(self) -> None:
        """Take no more; who is asked already may answer."""
        if self._server is not None:
            await self._server.stop(ENDS_SECONDS)

    def _handlers(self) -> Any:
        """Bytes go in and out: what is marked is a question's bytes, and one that is no message is counted, too."""
        ways: dict[str, Answering] = {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ServerMetadata": self._about,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_about,
            "ModelInfer": self._infer,
        }
        return grpc.method_handlers_generic_handler(
            SERVICE, {name: grpc.unary_unary_rpc_method_handler(_told(way)) for name, way in ways.items()}
        )

    async def _live(self, body: bytes, context: Any) -> Message:
        del body, context
        return messages.ServerLiveResponse(live=(await self._plane.live())["status"] == "alive")

    async def _ready(self, body: bytes, context: Any) -> Message:
        del body, context
        return messages.ServerReadyResponse(ready=await self._plane.ready())

    async def _about(self, body: bytes, context: Any) -> Message:
        """The server's extension, to load and unload models, is none by gRPC."""
        del body, context
        told = self._plane.metadata()
        return messages.ServerMetadataResponse(name=told["name"], version=told["version"])

    async def _model_ready(self, body: bytes, context: Any) -> Message:
        """One that can't be read is not ready; why it is not is what a question to it is answered."""
        del context
        asked = tensors.read(messages.ModelReadyRequest, body)
        _no_version(asked.version)
        try:
            return messages.ModelReadyResponse(ready=await self._plane.model_ready(asked.name))
        except ModelNotReady:
            return messages.ModelReadyResponse(ready=False)

    async def _model_about(self, body: bytes, context: Any) -> Message:
        del context
        asked = tensors.read(messages.ModelMetadataRequest, body)
        _no_version(asked.version)
        told = await self._plane.model_metadata(asked.name)
        version = self._counters[asked.name].version
        return messages.ModelMetadataResponse(
            name=told["name"],
            versions=[version] if version else [],
            platform=told["platform"],
            inputs=told["inputs"],
            outputs=told["outputs"],
        )

    async def _infer(self, body: bytes, context: Any) -> Message:
        """A question, counted as one by REST is. One whose sender left before it was answered is none."""
        began, status, name = time.perf_counter(), 0, ""
        before = ASKED.set(_mark(body, context))
        try:
            asked = tensors.read(messages.ModelInferRequest, body)
            name = asked.model_name
            _no_version(asked.model_version)
            await self._plane.model_ready(name)
            found, _ = await self._plane.infer(name, tensors.question(asked))
            told = tensors.answer(found, raw=bool(asked.raw_input_contents))
            status = OK
            return told
        except Exception as error:
            status = _fault(error)[0]
            raise
        finally:
            ASKED.reset(before)
            if status:
                counters = self._counters.get(name) or next(iter(self._counters.values()))
                counters.add(status, time.perf_counter() - began)


def _told(way: Answering) -> Callable[[bytes, Any], Awaitable[bytes]]:
    """An answer's bytes, or the status that says what went wrong."""

    async def told(body: bytes, context: Any) -> bytes:
        try:
            found: bytes = (await way(body, context)).SerializeToString()
            return found
        except Exception as error:
            _, code = _fault(error)
            if code is StatusCode.INTERNAL:
                logging.getLogger("kserve").exception("a question failed")
            reason = str(error) if code is not StatusCode.INTERNAL else f"{type(error).__name__} : {error}"
            await context.abort(code, reason)
            raise  # abort has raised already

    return told


def _fault(error: Exception) -> tuple[int, StatusCode]:
    if isinstance(error, RefusedError):
        return error.status, REFUSED[error.status]
    return next((status, code) for kind, status, code in FAULTS if isinstance(error, kind))


def _no_version(asked: str) -> None:
    """Who answers is the release's to say."""
    if asked:
        raise NotImplementedError(f"the version is {asked!r}; allowed: none, the release says which version answers")


def _mark(body: bytes, context: Any) -> Any:
    """Of a question with an id of the gateway, as Marked makes it of one by REST."""
    names = dict(context.invocation_metadata() or ())
    found = marking(names.get(REQUEST_ID.decode(), "").encode())
    if found is not None:
        found.update(body)
    return found


class Server(kserve.ModelServer):  # type: ignore[misc]  # it has no types
    """KServe's, with the service beside it where it has a port."""

    def __init__(self, counters: Mapping[str, Counters], grpc_port: int, most: int, **told: Any) -> None:
        super().__init__(enable_grpc=False, **told)
        self._calls = Calls(self.dataplane, counters)
        if grpc_port:
            self.servers.append(self._calls.serve(grpc_port, most))

    def stop(self, sig: int) -> None:
        """REST has ended when this is called. Then the other way does, and only then the models go."""
        self._ending = asyncio.create_task(self._ended(sig))

    async def _ended(self, sig: int) -> None:
        await self._calls.stop()
        super().stop(sig)
