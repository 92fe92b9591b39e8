"""Holds questions to releases that sleep, until a pod answers. Standard library only.

The gateway leads such a release's questions here, to one of the keepers' pods. A question is held with its body, a pod
is made to begin, and the pod's answer is what the caller gets. Questions are the same when they are asked twice, so one
that a pod did not answer goes to another pod, and the gateway asks another holder when this one dies.

How many are held, how large they are together, and how long is bounded: beyond it the caller gets 503, Retry-After and
the reason. Who asks only whether the release is ready starts nothing. A call by gRPC starts it and waits as well; when
a pod is there it is told to come again, UNAVAILABLE, for nothing in the standard library speaks HTTP/2.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException
from itertools import count
from pathlib import Path

from components.models.judge.reading import Place
from components.models.keeper import questions
from components.models.keeper.held import Counts, Outcome
from components.models.keeper.questions import Question, RefusedError
from components.models.keeper.waking import NotHereError

LOOK_SECONDS = 0.25  # between two looks at a release's pods, while a question waits for one
READ_SECONDS, CONNECT_SECONDS = 10.0, 1.0
AT_ONCE = 32  # questions that one release's pods get from here at the same time
AGAIN_SECONDS = 10  # when a caller who got 503 may come again
PIECE = 65536
NO_POD = "no pod of it answers yet"
Step = Callable[[str], Sequence[Place]]


@dataclass(frozen=True)
class Limits:
    """Of one holder."""

    questions: int
    mib: int  # of all questions together
    seconds: float  # that one may wait for a pod
    answer_seconds: float
    largest_mib: int  # of one question


@dataclass
class Start:
    """One release whose pods are waited for; one look serves all who wait."""

    pods: Sequence[Place] = ()
    looks: int = 0
    waiting: int = 0
    watched: bool = False
    why: str = NO_POD
    gone: bool = False  # there is no such release
    turn: Iterator[int] = field(default_factory=count)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))


class Holder:
    """`step`: one look at a release's pods, in a thread of its own. `folder` holds tls.crt and tls.key."""

    def __init__(self, step: Step, limits: Limits, port: int, folder: Path, log: Callable[[str], None]) -> None:
        self._step, self._limits, self._port, self._folder, self._log = step, limits, port, folder, log
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._looking = ThreadPoolExecutor(1)  # the way to the API server is one connection
        self._starts: dict[str, Start] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self.counts = Counts()
        self.renew()

    def renew(self) -> None:
        """Read the certificate again."""
        self._context.load_cert_chain(self._folder / "tls.crt", self._folder / "tls.key")

    def start(self) -> None:
        """Hold until `stop`. Raises OSError: the port is taken."""
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(
            self._connected, "0.0.0.0", self._port, ssl=self._context, limit=questions.HEAD_BYTES, backlog=512
        )

    def stop(self, seconds: float) -> None:
        """Take no more, and wait so long for answers to what is held; the gateway asks another holder for the rest."""
        asyncio.run_coroutine_threadsafe(self._drained(seconds), self._loop).result()

    async def _drained(self, seconds: float) -> None:
        assert self._server
        self._server.close()
        left = self._tasks
        if self._tasks:
            left = (await asyncio.wait(self._tasks, timeout=seconds))[1]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One question on each connection."""
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            await self._asked(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            writer.transport.abort()  # the gateway sees that nothing came
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), CONNECT_SECONDS)

    async def _asked(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question: Question | None = None
        try:
            async with asyncio.timeout(READ_SECONDS):
                question = questions.head(await reader.readuntil(b"\r\n\r\n"))
                if question.looks:
                    return await _looked(writer, question)
                self._room(question)
        except RefusedError as error:
            await _refused(writer, error, question)
            return await _rest(reader)
        with self.counts.holding(question.release, question.size) as held:
            try:
                async with asyncio.timeout(READ_SECONDS):
                    question.body = await reader.readexactly(question.size)
                held.ends(await self._held(question, reader, writer, held.answers))
            except RefusedError as error:
                held.ends(Outcome.LATE)
                await _refused(writer, error, question)
        return None

    def _room(self, question: Question) -> None:
        """Raises RefusedError where one more would be too much."""
        if question.size > self._limits.largest_mib << 20:
            raise RefusedError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the question has {question.size} bytes, {self._limits.largest_mib << 20} are allowed",
            )
        many, much = self.counts.now(), self.counts.bytes()
        if many >= self._limits.questions or much + question.size > self._limits.mib << 20:
            self.counts.refuse(question.release)
            raise RefusedError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{question.release} starts, and {many} questions of {much} bytes wait already; at most"
                f" {self._limits.questions} of {self._limits.mib} MiB may; ask again in {AGAIN_SECONDS} s",
            )

    async def _held(
        self, question: Question, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, begins: Callable[[], None]
    ) -> Outcome:
        """Until it is answered, or its caller has left. Raises RefusedError: nobody answered in time."""
        answer = asyncio.ensure_future(self._answered(question, writer, begins))
        left = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({answer, left}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                return Outcome.LEFT
            await answer
            return Outcome.ANSWERED
        finally:
            for each in (answer, left):
                each.cancel()
            await asyncio.gather(answer, left, return_exceptions=True)

    async def _answered(self, question: Question, writer: asyncio.StreamWriter, begins: Callable[[], None]) -> None:
        start = self._starts.setdefault(question.release, Start())
        start.waiting += 1
        if not start.watched:
            self._watched(question.release, start)
        end, looks, tried = time.monotonic() + self._limits.seconds, 0, ""
        try:
            while True:
                looks, place = await _next(start, looks, end)
                if place is None:
                    break
                if question.calls:
                    # Nothing here speaks HTTP/2. Whoever asks again now finds pods, by the route or in a moment.
                    begins()
                    return await _said(
                        writer, questions.told(f"{question.release} slept, and has just begun: ask again")
                    )
                async with start.turns:
                    try:
                        return await self._through(question, place, writer, begins)
                    except (OSError, TimeoutError) as error:
                        if writer.is_closing() or question.begun:
                            raise
                        tried = f"; {place.pod}: {error or type(error).__name__}"
        finally:
            start.waiting -= 1
        late = "" if start.gone else f"no pod of it answered within {self._limits.seconds:g} s: "
        why = f"{question.release} slept: {late}{start.why}{tried}; ask again in {AGAIN_SECONDS} s"
        raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, why)

    def _watched(self, release: str, start: Start) -> None:
        start.watched = True
        task = self._loop.create_task(self._looks(release, start))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _looks(self, release: str, start: Start) -> None:
        """At a release's pods, as long as a question waits for one."""
        while start.waiting:
            try:
                start.pods = await self._loop.run_in_executor(self._looking, self._step, release)
                start.gone, start.why = False, NO_POD
            except NotHereError as error:
                start.pods, start.gone, start.why = (), True, str(error)
            except (OSError, HTTPException, ValueError, KeyError) as error:
                before, start.pods, start.why = start.why, (), f"{type(error).__name__}: {error}"
                if start.why != before:
                    self._log(f"{release} is asked, and its pods can't be begun: {start.why}")
            start.looks += 1
            async with start.changed:
                start.changed.notify_all()
            await asyncio.sleep(LOOK_SECONDS)
        del self._starts[release]  # who asks from now on looks anew

    async def _through(
        self, question: Question, place: Place, writer: asyncio.StreamWriter, begins: Callable[[], None]
    ) -> None:
        """The pod's own answer, as it comes. Raises OSError, TimeoutError: it gave none, or not all of it."""
        async with asyncio.timeout(CONNECT_SECONDS):
            source, sink = await asyncio.open_connection(place.address, place.port)
        try:
            sink.write(question.said())
            async with asyncio.timeout(self._limits.answer_seconds):
                await sink.drain()
                piece = await source.read(PIECE)
            if not piece:
                raise ConnectionResetError("it closed the connection without an answer")
            begins()
            question.begun = True
            while piece:
                writer.write(piece)
                async with asyncio.timeout(self._limits.answer_seconds):
                    await writer.drain()
                    piece = await source.read(PIECE)
        finally:
            sink.close()


async def _next(start: Start, looks: int, end: float) -> tuple[int, Place | None]:
    """A pod that was seen after so many looks; None: there was none in time. Who asks again takes another pod."""
    with suppress(TimeoutError):
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + end - time.monotonic()), start.changed:
            await start.changed.wait_for(lambda: start.looks > looks and (start.pods or start.gone))
            if start.pods:
                return start.looks, start.pods[next(start.turn) % len(start.pods)]
    return start.looks, None


async def _rest(reader: asyncio.StreamReader) -> None:
    """What nobody reads of a question would take its answer away when the connection ends."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CONNECT_SECONDS):
            while await reader.read(PIECE):
                pass


async def _looked(writer: asyncio.StreamWriter, question: Question) -> None:
    if question.calls:
        return await _said(writer, questions.told(f"{question.release} sleeps: a question starts it"))
    told = json.dumps({"ready": True, "asleep": True})
    return await _said(writer, questions.answer(HTTPStatus.OK, told, AGAIN_SECONDS))


async def _refused(writer: asyncio.StreamWriter, error: RefusedError, question: Question | None) -> None:
    if question is not None and question.calls:
        return await _said(writer, questions.told(str(error)))
    return await _said(writer, questions.answer(error.status, json.dumps({"error": str(error)}), AGAIN_SECONDS))


async def _said(writer: asyncio.StreamWriter, answer: bytes) -> None:
    writer.write(answer)
    await writer.drain()
