"""A holder over pods on loopback: what it holds, to whom it passes it on, and where its bounds are."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TypeVar

import pytest

from components.kit import pki
from components.models.judge.reading import Place
from components.models.keeper import questions
from components.models.keeper.holding import Holder, Limits
from components.models.keeper.objects import RELEASE_HEADER
from components.models.keeper.questions import RefusedError
from components.models.keeper.waking import NotHereError
from tests.ports import free_port
from validate.ground.kubectl import wait_for

HOST, SECONDS = "127.0.0.1", 60  # on a machine that may be busy
PATH = "/v2/models/iris/infer"
T = TypeVar("T")
Answer = tuple[int, dict[str, str], dict[str, object]]


@dataclass
class Pod:
    """Answers with what it was asked; or breaks off, so many times."""

    breaks: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)
    waits: threading.Event | None = None
    server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        own = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                own.asked.append((self.path, self.headers.get("Authorization", "")))
                if own.breaks:
                    own.breaks -= 1
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                if own.waits:
                    own.waits.wait(SECONDS)
                told = json.dumps({"size": len(body)}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer((HOST, 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def place(self) -> Place:
        return Place(f"pod-{self.server.server_port}", HOST, self.server.server_port, ready=True)


@dataclass
class World:
    """A holder; `pods`: what a look finds, or what it raises."""

    holder: Holder
    port: int
    trusted: ssl.SSLContext
    pods: list[Place] | Exception
    looks: list[str]
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(16))

    def line(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("localhost", self.port, timeout=SECONDS, context=self.trusted)

    def ask(self, body: bytes = b"{}", method: str = "POST", path: str = PATH, release: str = "iris") -> Answer:
        line = self.line()
        line.request(method, path, body, {RELEASE_HEADER: release, "Authorization": "Bearer x"})
        answer = line.getresponse()
        told = json.loads(answer.read())
        line.close()
        return answer.status, dict(answer.headers), told

    def call(self, method: str = "ModelInfer") -> tuple[int, dict[str, str]]:
        """As the gateway passes on what came by gRPC."""
        line = self.line()
        head = {RELEASE_HEADER: "iris", "Content-Type": "application/grpc+proto", "te": "trailers"}
        line.request("POST", f"/inference.GRPCInferenceService/{method}", b"\0\0\0\0\0", head)
        answer = line.getresponse()
        assert answer.read() == b""
        line.close()
        return answer.status, dict(answer.headers)

    def later(self, what: Callable[[], T]) -> Future[T]:
        """Asked, and held."""
        before = self.holder.counts.now()
        found = self.pool.submit(what)
        self.until(lambda: self.holder.counts.now() > before)
        return found

    @staticmethod
    def until(what: Callable[[], bool]) -> None:
        wait_for("the holder", lambda: what() or None, timeout=SECONDS, every=0.01)

    def counted(self, line: str) -> None:
        """Waits for it: an answer is out before it is counted."""
        self.until(lambda: line in self._counted())

    def _counted(self) -> set[str]:
        return {line for line in self.holder.counts.numbers() if "_held_total{" in line}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pki")
    pki.ensure_ca(made, "lab")
    for name, text in pki.ensure_leaf(made, "holder", ["localhost"]).secret_data().items():
        (made / name).write_text(text)
    return made


@pytest.fixture
def made(folder: Path) -> Iterator[Callable[..., World]]:
    found: list[World] = []

    def make(pods: Sequence[Place] | Exception = (), **limits: float) -> World:
        told = {"questions": 4, "mib": 2, "seconds": SECONDS, "answer_seconds": SECONDS, "largest_mib": 1} | limits

        def step(release: str) -> list[Place]:
            world.looks.append(release)
            if isinstance(world.pods, Exception):
                raise world.pods
            return world.pods

        port = free_port()
        holder = Holder(step, Limits(**told), port, folder, lambda _: None)  # type: ignore[arg-type]
        trusted = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        world = World(holder, port, trusted, pods if isinstance(pods, Exception) else list(pods), [])
        holder.start()
        found.append(world)
        return world

    yield make
    for world in found:
        world.holder.stop(0)


def test_a_question_waits_for_a_pod_and_gets_its_answer(made: Callable[..., World]) -> None:
    world, pod = made(), Pod()
    held = [world.later(lambda: world.ask(b"x" * 1000)) for _ in range(3)]
    assert not any(each.done() for each in held)
    assert 'apadana_models_held{release="iris"} 3' in set(world.holder.counts.numbers())
    world.pods = [pod.place]
    assert [each.result(SECONDS)[::2] for each in held] == [(200, {"size": 1000})] * 3
    assert pod.asked == [(PATH, "Bearer x")] * 3
    assert set(world.looks) == {"iris"}
    world.counted('apadana_models_held_total{release="iris",outcome="answered"} 3')
    # Nobody waits: nobody looks.
    world.until(lambda: not world.holder._starts)
    looks = len(world.looks)
    time.sleep(0.6)
    assert len(world.looks) == looks


def test_one_that_a_pod_does_not_answer_goes_to_another_or_to_the_same_again(made: Callable[..., World]) -> None:
    gone = Place("gone", HOST, free_port(), ready=True)
    pod = Pod(breaks=2)
    world = made([gone, pod.place])
    assert world.ask()[0] == 200
    assert len(pod.asked) == 3


def test_who_asks_only_whether_it_is_ready_starts_nothing(made: Callable[..., World]) -> None:
    world = made()
    for path in ("/v2/health/ready", "/v2/health/live", "/v2/models/iris/ready"):
        assert world.ask(b"", "GET", path)[::2] == (200, {"ready": True, "asleep": True})
    assert world.looks == []
    held = world.later(lambda: world.ask(b"", "POST", "/v2/models/iris/ready"))
    world.until(lambda: bool(world.looks))
    assert not held.done()


def test_a_call_by_grpc_waits_for_a_pod_and_is_told_to_come_again(made: Callable[..., World]) -> None:
    world, pod = made(), Pod()
    held = world.later(world.call)
    assert not held.done()
    world.pods = [pod.place]
    status, headers = held.result(SECONDS)
    assert (status, headers["Content-Type"], headers["grpc-status"]) == (200, "application/grpc", "14")
    assert headers["grpc-message"] == "iris slept, and has just begun: ask again"
    assert pod.asked == []
    world.counted('apadana_models_held_total{release="iris",outcome="answered"} 1')


@pytest.mark.parametrize("method", ["ServerLive", "ServerReady", "ServerMetadata", "ModelReady"])
def test_a_call_that_asks_only_whether_it_is_ready_starts_nothing(made: Callable[..., World], method: str) -> None:
    world = made()
    assert world.call(method)[1]["grpc-message"] == "iris sleeps: a question starts it"
    assert world.looks == []


def test_a_call_that_no_pod_can_answer_in_time_is_told_why(made: Callable[..., World]) -> None:
    world = made(OSError("100 % \u00e9"), seconds=0.5)
    headers = world.call()[1]
    assert headers["grpc-status"] == "14"
    assert headers["grpc-message"].endswith("OSError: 100 %25 %C3%A9; ask again in 10 s")
    assert "Retry-After" not in headers


def test_what_is_too_much_is_refused_with_words_and_when_to_come_again(made: Callable[..., World]) -> None:
    world, pod = made(questions=2), Pod()
    held = [world.later(world.ask) for _ in range(2)]
    status, headers, told = world.ask()
    assert (status, headers["Retry-After"]) == (503, "10")
    assert str(told["error"]).startswith("iris starts, and 2 questions of 4 bytes wait already; at most 2 of 2 MiB may")
    world.pods = [pod.place]
    assert [each.result(SECONDS)[0] for each in held] == [200, 200]
    world.counted('apadana_models_held_total{release="iris",outcome="refused"} 1')


def test_what_is_too_large_together_is_refused_and_one_too_large_for_anybody_too(made: Callable[..., World]) -> None:
    world = made(mib=1)
    body = b"x" * 700_000
    world.later(lambda: world.ask(body))
    assert "1 questions of 700000 bytes wait already" in str(world.ask(body)[2]["error"])
    # Refused by its head: nothing of it is read.
    line = world.line()
    line.putrequest("POST", PATH)
    line.putheader(RELEASE_HEADER, "iris")
    line.putheader("Content-Length", str(2 << 20))
    line.endheaders()
    answer = line.getresponse()
    assert answer.status == 413
    assert json.loads(answer.read()) == {"error": "the question has 2097152 bytes, 1048576 are allowed"}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([], "iris slept: no pod of it answered within 0.5 s: no pod of it answers yet; ask again in 10 s"),
        (OSError("no way"), "iris slept: no pod of it answered within 0.5 s: OSError: no way; ask again in 10 s"),
        (NotHereError("no release iris is asleep"), "iris slept: no release iris is asleep; ask again in 10 s"),
    ],
)
def test_one_that_nobody_answers_in_time_is_told_why(
    made: Callable[..., World], found: Sequence[Place] | Exception, told: str
) -> None:
    world = made(found, seconds=0.5)
    status, headers, said = world.ask()
    assert (status, headers["Retry-After"], said) == (503, "10", {"error": told})
    world.counted('apadana_models_held_total{release="iris",outcome="late"} 1')


def test_one_whose_caller_leaves_makes_room_and_is_asked_nowhere(made: Callable[..., World]) -> None:
    world, pod = made(questions=1), Pod()
    line = world.line()
    line.request("POST", PATH, b"{}", {RELEASE_HEADER: "iris"})
    world.until(lambda: world.holder.counts.now() == 1)
    line.close()
    world.until(lambda: world.holder.counts.now() == 0)
    world.counted('apadana_models_held_total{release="iris",outcome="left"} 1')
    world.pods = [pod.place]
    assert world.ask()[0] == 200
    assert len(pod.asked) == 1


def test_one_that_is_told_to_end_takes_no_more_and_answers_what_it_holds(made: Callable[..., World]) -> None:
    pod = Pod(waits=threading.Event())
    world = made([pod.place])
    held = world.later(world.ask)
    world.until(lambda: bool(pod.asked))
    ends = world.pool.submit(world.holder.stop, SECONDS)

    def refused() -> bool:
        try:
            socket.create_connection((HOST, world.port), timeout=SECONDS).close()
        except ConnectionRefusedError:
            return True
        return False

    world.until(refused)
    assert not held.done() and not ends.done()
    assert pod.waits
    pod.waits.set()
    assert held.result(SECONDS)[0] == 200
    ends.result(SECONDS)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("POST /a HTTP/1.1", "x-apadana-release: iris", "Transfer-Encoding: chunked"), 411),
        (("POST /a HTTP/1.1", "x-apadana-release: iris", "Content-Length: 1", "Content-Length: 2"), 411),
        (("POST /a HTTP/1.1", "x-apadana-release: iris", "Content-Length: -1"), 411),
        (("POST /a HTTP/1.1", "Content-Length: 1"), 404),
        (("POST /a HTTP/1.1", 'x-apadana-release: a"b', "Content-Length: 1"), 404),
        (("POST /a HTTP/1.0", "x-apadana-release: iris"), 400),
        (("POST a HTTP/1.1",), 400),
        (("hello",), 400),
        (("POST /a HTTP/1.1", "no colon"), 400),
    ],
)
def test_what_can_not_be_held_is_refused(lines: tuple[str, ...], status: int) -> None:
    with pytest.raises(RefusedError) as refused:
        questions.head("\r\n".join([*lines, "", ""]).encode())
    assert refused.value.status == status


def test_a_question_goes_on_as_it_came_but_for_what_is_of_one_hop() -> None:
    lines = [
        "POST /a?b=1 HTTP/1.1",
        "Host: h",
        "X-Apadana-Release: iris",
        "Connection: keep-alive",
        "Content-Length: 3",
    ]
    found = questions.head("\r\n".join([*lines, "", ""]).encode())
    found.body = b"abc"
    assert (found.release, found.size, found.path) == ("iris", 3, "/a?b=1")
    wanted = ["POST /a?b=1 HTTP/1.1", "Host: h", "X-Apadana-Release: iris", "Content-Length: 3", "Connection: close"]
    assert found.said() == "\r\n".join([*wanted, "", "abc"]).encode()
