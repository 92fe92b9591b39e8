"""The feature server: Feast's own application without what it must not do here.

Left of it: one question, `/get-online-features`. Feast's ways to push, materialise, chat and show
pages are taken out: rows are checked first (`/push` is ours), and a Job materialises. `/history` is
ours, too: Feast's server has no way to ask for a training set. It speaks plain HTTP on the pod's
loopback; the front beside it has TLS and the log-in.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime
from typing import Any

import psycopg
import redis
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse
from feast import FeatureStore
from feast.feature_server import get_app
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from psycopg_pool import PoolTimeout
from sqlalchemy.exc import SQLAlchemyError
from starlette.routing import Route

from . import forgetting, opening, page
from .definitions import Definitions
from .forget import PATH as FORGET
from .history import BusyError, Historian
from .moving import say
from .pushing import Pusher, RefusedError, UnsureError
from .tables import RUNS

QUESTION, PUSH, HISTORY = "/get-online-features", "/push", "/history"
UNSURE, AGAIN = "not sure that it is kept, send it again", "the history can't be read now, ask again"
UNFORGOTTEN = "not sure that all of it is gone, ask again"
LOOK_SECONDS = 30.0  # how old what is known of registry and runs may be
BOUNDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Numbers:
    """What Prometheus is told."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = {"registry": self.registry}
        self.requests = Counter("feast_requests", "Answers", ["path", "status"], **own)
        self.seconds = Histogram("feast_request_seconds", "Time to answer", ["path"], buckets=BOUNDS, **own)
        self.age = Gauge("feast_view_age_seconds", "Since online was last right", ["view"], **own)
        self.lost = Gauge("feast_view_lost", "Rows that online lacked after the last run", ["view"], **own)
        self.refused = Gauge("feast_view_refused", "1: checks refused the last run", ["view"], **own)

    def text(self) -> bytes:
        """As Prometheus reads it."""
        text: bytes = generate_latest(self.registry)
        return text

    def runs(self, line: psycopg.Connection[Any]) -> None:
        """How the last run of each view went."""
        query = f"SELECT view, extract(epoch FROM now() - good_at), lost, refused FROM {RUNS}"
        for view, age, lost, refused in line.execute(query).fetchall():
            self.age.labels(view).set(float("inf") if age is None else float(age))
            self.lost.labels(view).set(lost)
            self.refused.labels(view).set(bool(refused))


class Measured:
    """The application, counted and timed."""

    def __init__(self, app: Any, numbers: Numbers) -> None:
        self._app, self._numbers = app, numbers

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in (QUESTION, PUSH, HISTORY):
            await self._app(scope, receive, send)
            return
        begin, status, path = time.monotonic(), 500, scope["path"]

        async def watching(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watching)
        finally:
            self._numbers.seconds.labels(path).observe(time.monotonic() - begin)
            self._numbers.requests.labels(path, f"{status // 100}xx").inc()


def application(
    store: FeatureStore, wanted: Definitions, pusher: Pusher, historian: Historian, numbers: Numbers
) -> Measured:
    """Feast's, cut down, with our own pages."""
    app: FastAPI = get_app(store, registry_ttl_sec=0)
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", "") == QUESTION]

    async def push(request: Request) -> Response:
        return await _answered(request, lambda asked: _told(*pusher.take(asked)), UNSURE)

    async def history(request: Request) -> Response:
        return await _answered(request, lambda asked: {"rows": historian.rows(asked)}, AGAIN)

    async def forget(request: Request) -> Response:
        # The front knows the page by its letters: by any others (%2D) somebody came past it.
        if request.scope["raw_path"] != FORGET.encode():
            return JSONResponse({"error": "there is no such page"}, 404)

        def act(asked: Any) -> Any:
            return pusher.within(lambda line: forgetting.forget(store, line, wanted, asked))

        return await _answered(request, act, UNFORGOTTEN)

    async def here(_: Request) -> Response:
        return Response("here", media_type="text/plain")

    async def front(_: Request) -> Response:
        return HTMLResponse(page.html(wanted))

    async def metrics(_: Request) -> Response:
        return Response(numbers.text(), media_type=CONTENT_TYPE_LATEST)

    pages = {"/": front, "/-/healthy": here, "/-/ready": here, "/metrics": metrics}
    app.router.routes.extend(Route(path, answer, methods=["GET"]) for path, answer in pages.items())
    app.router.routes.extend([Route(PUSH, push, methods=["POST"]), Route(HISTORY, history, methods=["POST"])])
    app.router.routes.append(Route(FORGET, forget, methods=["POST"]))
    # A store that changes its primary is nobody's mistake: the client asks again.
    app.add_exception_handler(redis.RedisError, _away)
    return Measured(app, numbers)


def _told(written: int, created: datetime) -> dict[str, Any]:
    return {"written": written, "known_from": created.isoformat()}


async def _answered(request: Request, answer: Callable[[Any], Any], unsure: str) -> Response:
    try:
        asked = await request.json()
    except ValueError:
        return JSONResponse({"error": "the body is no JSON"}, 400)
    try:
        return JSONResponse(await run_in_threadpool(answer, asked))
    except RefusedError as error:
        return JSONResponse({"error": str(error)}, 422)
    except (redis.RedisError, psycopg.Error, SQLAlchemyError, PoolTimeout, UnsureError, BusyError, OSError) as error:
        return JSONResponse({"error": f"{unsure}: {type(error).__name__}"}, 503)


async def _away(request: Request, error: Exception) -> Response:
    del request
    return JSONResponse({"error": f"the online store can't be asked, try again: {type(error).__name__}"}, 503)


def watch(store: FeatureStore, numbers: Numbers) -> None:
    """Reads the registry and the runs anew; what can't be read is as it was."""
    told = ""
    while True:
        problem = ""
        try:
            store.refresh_registry()
            with opening.database() as line:
                numbers.runs(line)
        except Exception as error:  # noqa: BLE001  the server goes on with what it knows
            problem = f"the registry can't be read, the last one is used: {type(error).__name__}"
        if problem != told:
            say(problem or "the registry can be read again")
            told = problem
        time.sleep(LOOK_SECONDS)  # the rhythm of the looks


def serve(store: FeatureStore, wanted: Definitions, port: int, connections: int) -> None:
    """One worker in this process, until it is told to end."""
    logging.getLogger("feast").setLevel(logging.WARNING)
    numbers, pusher, historian = Numbers(), Pusher(store, wanted, connections), Historian(store, wanted)
    store.refresh_registry()
    threading.Thread(target=watch, args=(store, numbers), daemon=True).start()
    config = uvicorn.Config(
        application(store, wanted, pusher, historian, numbers),
        host="127.0.0.1",
        port=port,
        access_log=False,
        log_level="warning",
        # Longer than the front keeps an idle connection, so that the front is who ends it.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=20,
    )
    # Libraries and registry are 180,000 objects. The collector would go through them again and again, and whoever asks
    # meanwhile would wait a tenth of a second.
    gc.freeze()
    try:
        uvicorn.Server(config).run()
    finally:
        pusher.close()
