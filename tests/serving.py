"""Releases on the lab, for tests: a trained model, the command, and requests as a client sends them."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from components.kit import naming
from components.models.keeper.objects import PATHS
from components.models.settings import LOOKER, PROBE, ROOM
from tests import lab, pages, registering
from validate.ground.pods import Pod, client_spec, new_run_id, pods

Row = list[float]
COMMAND = (sys.executable, "-m", "stacks.models", lab.SITE)


@dataclass(frozen=True)
class Trained:
    """A version in the registry, some rows, and what it has to say of them."""

    reference: str
    asked: list[Row]
    answers: list[int]


@contextmanager
def trainer() -> Iterator[Pod]:
    """A pod that trains and may ask MLflow."""
    site = lab.found()
    used = [site.platform.component("mlflow")]
    with pods(site.cluster, [client_spec(site, used, new_run_id(), role="trainer")], timeout=480) as (pod,):
        pod.send_code(used)
        pod.wait_admitted()
        yield pod


def train(pod: Pod, name: str, seed: int, kind: str = "good") -> Trained:
    """One more version of the model `name`, with a fault of registering.KINDS or without."""
    script = Path(registering.__file__).read_bytes()
    told = json.loads(pod.run("python3", "-", name, str(seed), kind, timeout=360, stdin=script).splitlines()[-1])
    return Trained(f"models:/{name}/{told['version']}", told["asked"], told["answers"])


def command(*words: str, timeout: float = 300) -> lab.Done:
    """As a person types it."""
    return lab.run(*COMMAND, *words, timeout=timeout)


def did(*words: str, wait: int = 420) -> str:
    """The same, and it is true afterwards."""
    done = command(*words, "--wait", str(wait), timeout=wait + 40)
    assert done.returncode == 0, lab.told(done)
    return done.stdout


def context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(lab.found().site_ca))


def line(name: str, trusted: ssl.SSLContext, timeout: float = 20) -> http.client.HTTPConnection:
    """To a page by the floating address."""
    plain = socket.create_connection((pages.floating(), 443), timeout=timeout)
    link = http.client.HTTPConnection(name, timeout=timeout)
    link.sock = trusted.wrap_socket(plain, server_hostname=name)
    return link


def token(account: str = PROBE) -> str:
    """Of a service's account, by its own password."""
    where = ("-n", lab.found().platform.namespace, "get", "secret", naming.client_secret("identity", account))
    data = {key: base64.b64decode(v).decode() for key, v in lab.cluster().json(*where)["data"].items()}
    form = {"grant_type": "client_credentials", "client_id": data["username"], "client_secret": data["password"]}
    issuer = host("identity")
    link = line(issuer, context())
    head = {"Content-Type": "application/x-www-form-urlencoded"}
    link.request("POST", "/realms/platform/protocol/openid-connect/token", urlencode(form), head)
    answer = link.getresponse()
    told = answer.read()
    assert answer.status == 200, told
    return str(json.loads(told)["access_token"])


class Tokens:
    """The token of a service's account, asked for anew while it still lives: a test may take longer than it does."""

    YOUNG_S = 60.0

    def __init__(self, account: str = PROBE) -> None:
        self.account = account
        self._lock = threading.Lock()
        self._token, self._until = "", 0.0

    def __call__(self) -> str:
        with self._lock:
            if time.monotonic() >= self._until:
                self._token, self._until = token(self.account), time.monotonic() + self.YOUNG_S
            return self._token


def looker() -> str:
    """A token of one who may only look."""
    return token(LOOKER)


def host(page: str = ROOM) -> str:
    loaded = pages.settings()
    return f"{page}.{loaded.facts({}).web_domain}"


def page(room: str, method: str, path: str, word: str, body: object = None) -> tuple[int, Any]:
    """What a page of the gateway answers to who brings this token: status, and JSON or text."""
    link = line(host(room), context())
    try:
        heads = {"Authorization": f"Bearer {word}", "Content-Type": "application/json"}
        link.request(method, path, None if body is None else json.dumps(body), heads)
        answer = link.getresponse()
        content = answer.read()
        plain = answer.getheader("Content-Type", "") != "application/json"
        return answer.status, content.decode(errors="replace") if plain else json.loads(content)
    finally:
        link.close()


def question(rows: list[Row]) -> bytes:
    """By the Open Inference Protocol, v2."""
    data = [value for row in rows for value in row]
    shape = [len(rows), len(rows[0])]
    return json.dumps({"inputs": [{"name": "x", "shape": shape, "datatype": "FP64", "data": data}]}).encode()


@dataclass
class Caller:
    """A client with one connection; after an error the next question opens another."""

    release: str
    token: str | Callable[[], str] = ""
    trusted: ssl.SSLContext = field(default_factory=context)
    patience: float = 20  # seconds that an answer may take
    _line: http.client.HTTPConnection | None = None

    def ask(self, body: bytes, **head: str) -> tuple[int, Any]:
        """Status and JSON, or the text."""
        heads = {"Content-Type": "application/json", **head}
        if self.token:
            heads["Authorization"] = f"Bearer {self.token() if callable(self.token) else self.token}"
        try:
            self._line = self._line or line(host(), self.trusted, self.patience)
            self._line.request("POST", f"{PATHS}/{self.release}/infer", body, heads)
            answer = self._line.getresponse()
            content = answer.read()
            if answer.will_close:  # else it would be opened again by a name that only the gateway knows
                self.close()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        try:
            return answer.status, json.loads(content)
        except ValueError:
            return answer.status, content.decode(errors="replace")

    def close(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line = None


@dataclass
class Load:
    """Questions at a fixed rate, whatever comes back: each has its intended start. `others` take turns with `body`."""

    release: str
    body: bytes
    token: str | Callable[[], str]
    rate: float
    threads: int = 8
    others: Sequence[bytes] = ()
    patience: float = 20
    answers: list[tuple[float, str]] = field(default_factory=list)  # start, version or what went wrong
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[Load]:
        begin = time.monotonic()
        workers = [threading.Thread(target=self._work, args=(begin, n), daemon=True) for n in range(self.threads)]
        for each in workers:
            each.start()
        try:
            yield self
        finally:
            self._stop.set()
            for each in workers:
                each.join(timeout=self.patience + 10)

    def _work(self, begin: float, number: int) -> None:
        caller = Caller(self.release, self.token, patience=self.patience)
        start = begin + number / self.rate
        questions = cycle((self.body, *self.others))
        while not self._stop.wait(max(0.0, start - time.monotonic())):
            try:
                status, told = caller.ask(next(questions))
                said = told["model_version"] if status == 200 else f"HTTP {status}"
            except (OSError, http.client.HTTPException) as error:
                said = type(error).__name__
            self.answers.append((start, said))
            start += self.threads / self.rate
        caller.close()

    def counted(self) -> Counter[str]:
        return Counter(said for _, said in self.answers)


def chi_square(seen: Mapping[str, int], shares: Mapping[str, float]) -> float:
    """Of counts against shares that add up to 1."""
    total = sum(seen.values())
    return sum((seen.get(key, 0) - total * share) ** 2 / (total * share) for key, share in shares.items())
