"""Answers questions over HTTP, in the shape of KServe's v1 protocol; the standard library alone.

POST /v1/models/machines:predict {"instances": [[...], ...]} or {"machines": ["pump-07", ...]}
  -> 200 {"predictions": [probability, ...], "model": digest}
GET /v1/models/machines -> 200 {"name", "ready", "model", "refused"}
Whatever else comes in is answered with 4xx and a reason; 503 while there is no model.
"""

from __future__ import annotations

import json
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from validate.pod.integration import forest, pipeline, registry
from validate.pod.integration.features import NAMES, BadRecordError, number, strict
from validate.pod.integration.ports import Objects, Online

PATH = "/v1/models/machines"
MAX_BYTES, MAX_INSTANCES = 1 << 20, 1000
LOOK_SECONDS = 0.5  # how often the pointer is looked at
READ_SECONDS = 5.0  # a client that sends half a question is not waited for longer


class RefusedError(Exception):
    """The question can't be answered: status and reason."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Service:
    """The model that answers now, and the watch over the pointer."""

    def __init__(self, objects: Objects, online: Online | None, run: str) -> None:
        self._objects, self._online, self._run = objects, online, run
        self.model: forest.Forest | None = None
        self.refused = ""  # why the promoted model is not the one that answers
        self._stop = threading.Event()

    def look(self) -> None:
        """Takes the promoted model if it is another one and whole; else the old one goes on."""
        try:
            wanted = registry.current(self._objects, self._run)
            if self.model is None or self.model.digest != wanted:
                self.model = registry.fetch(self._objects, self._run, wanted)
            self.refused = ""
        except Exception as error:  # noqa: BLE001  the store's client may raise anything
            self.refused = f"{type(error).__name__}: {error}"[:300]

    def watch(self) -> None:
        """Looks again and again until `close`."""
        while not self._stop.is_set():
            self.look()
            self._stop.wait(LOOK_SECONDS)

    def close(self) -> None:
        self._stop.set()

    def answer(self, question: Any) -> dict[str, Any]:
        """Raises RefusedError."""
        model = self.model
        if model is None:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, f"no model yet: {self.refused}")
        if not isinstance(question, dict) or len(question.keys() & {"instances", "machines"}) != 1:
            raise RefusedError(HTTPStatus.BAD_REQUEST, 'expected {"instances": [...]}')
        if "machines" in question:
            instances = self._features(_listed(question["machines"]))
        else:
            instances = [_instance(each) for each in _listed(question["instances"])]
        return {"predictions": [model.answer(x) for x in instances], "model": model.digest}

    def _features(self, machines: list[Any]) -> list[list[float]]:
        if self._online is None or not all(isinstance(m, str) for m in machines):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "machines: expected names")
        keys = [pipeline.online_key(self._run, machine) for machine in machines]
        found = self._online.get(keys)
        for machine, key in zip(machines, keys, strict=True):
            if key not in found:
                raise RefusedError(HTTPStatus.NOT_FOUND, f"no features of {machine[:60]!r}")
        return [_instance(strict(found[key])) for key in keys]


def _listed(value: object) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise RefusedError(HTTPStatus.BAD_REQUEST, "expected a list that is not empty")
    if len(value) > MAX_INSTANCES:
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{len(value)} at once, {MAX_INSTANCES} allowed")
    return value


def _instance(value: object) -> list[float]:
    if not isinstance(value, list) or len(value) != len(NAMES):
        shape = len(value) if isinstance(value, list) else type(value).__name__
        raise RefusedError(HTTPStatus.BAD_REQUEST, f"expected {len(NAMES)} numbers, got {shape}")
    try:
        return [number(name, each) for name, each in zip(NAMES, value, strict=True)]
    except BadRecordError as error:
        raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from None


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = READ_SECONDS
    server: Server

    def do_GET(self) -> None:
        service = self.server.service
        if self.path != PATH:
            return self._refuse(RefusedError(HTTPStatus.NOT_FOUND, f"there is {PATH} only"))
        model = service.model
        told = {
            "name": "machines",
            "ready": model is not None,
            "model": model.digest if model else "",
            "refused": service.refused,
        }
        return self._reply(HTTPStatus.OK, told)

    def do_POST(self) -> None:
        try:
            answer = self.server.service.answer(self._question())
        except RefusedError as error:
            return self._refuse(error)
        except Exception as error:  # noqa: BLE001  500 is the answer, and the server lives
            told = {"error": f"{type(error).__name__}: {error}"[:300]}
            return self._reply(HTTPStatus.INTERNAL_SERVER_ERROR, told)
        return self._reply(HTTPStatus.OK, answer)

    def _question(self) -> Any:
        if self.path != f"{PATH}:predict":
            raise RefusedError(HTTPStatus.NOT_FOUND, f"there is {PATH}:predict only")
        kind = self.headers.get_content_type()
        if kind != "application/json":
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{kind}: send application/json")
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "Content-Length is missing")
        if len(length) > 9 or int(length) > MAX_BYTES:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_BYTES} bytes")
        try:
            body = self.rfile.read(int(length))
        except TimeoutError:
            raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "the question never ended") from None
        try:
            return strict(body)  # a body that was cut off is no JSON either
        except ValueError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"not JSON: {error}"[:200]) from None

    def _refuse(self, error: RefusedError) -> None:
        # What is left of the question would be read as the next one.
        self.close_connection = True
        self._reply(error.status, {"error": str(error)})

    def _reply(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Questions are not logged."""


class Server(ThreadingHTTPServer):
    """Serves one Service; a port of 0 takes a free one."""

    daemon_threads = True

    def __init__(self, service: Service, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((host, port), Handler)
        self.service = service
        self._watching = threading.Thread(target=service.watch, daemon=True)
        self._watching.start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def server_close(self) -> None:
        self.service.close()
        super().server_close()
