"""The observe layer on this machine: the lab's own charts, Debian's programs, loopback addresses.

Each pod is an address 127.0.77.x; its files are what the chart's ConfigMaps hold, with other
paths, addresses and intervals. Of the rooms that are watched, each member is a small server here.
"""

from __future__ import annotations

import http.server
import importlib
import json
import re
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from components.kit import fronts, pki
from components.kit.contract import Component
from components.kit.probing import Endpoint, Member, Target
from components.prometheus import targets
from tests import debian_programs
from tests.rendered import datarooms, test_observe

ROOMS = ("prometheus", "alertmanager")
PASSWORD = "a-password"
WATCHED = {"kafka": (3, 9404), "postgres": (3, 8008), "minio": (4, 9000)}
COUNTS = {"prometheus": 2, "alertmanager": 3} | {room: n for room, (n, _) in WATCHED.items()}
ADDRESS = {
    f"{room}-{index}": f"127.0.77.{10 * number + index}"
    for number, (room, count) in enumerate(COUNTS.items(), start=1)
    for index in range(count)
}
HOOK = ("127.0.77.99", 8080)
#: A minute of the window is 2 s here.
FASTER = {
    r"scrape_interval: \d+s": "scrape_interval: 2s",
    r"scrape_timeout: \d+s": "scrape_timeout: 2s",
    r"evaluation_interval: \d+s": "evaluation_interval: 2s",
    r"interval: 1m": "interval: 2s",
    r"interval: 15s": "interval: 2s",
    r"group_wait: \d+s": "group_wait: 3s",
    r"for: \d+[sm]": "for: 2s",
}


def room_of(pod: str) -> str:
    return pod.rpartition("-")[0]


def full(pod: str) -> str:
    return test_observe.SITE.pod_dns(pod, f"{room_of(pod)}-members")


class Quiet(http.server.BaseHTTPRequestHandler):
    """Two members that both call themselves primary: an alert that fires."""

    def do_GET(self) -> None:
        self.answer(b"patroni_primary 1\n")

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        del format, args


class Layer:
    """Two Prometheus and three Alertmanagers with their fronts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[dict[str, Any]] = []  # what the receiver was sent
        self.roots = {room: debian_programs.root(f"image/{room}") for room in ROOMS}
        hook = {"name": "duty", "url": f"http://{HOOK[0]}:{HOOK[1]}/", "port": HOOK[1]}
        more = {"receivers": [hook | {"secret": "", "trust": "site", "resolved": True}]}
        self.documents = {
            "prometheus": test_observe.render("prometheus"),
            "alertmanager": test_observe.render("alertmanager", **more),
        }
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.servers: list[http.server.ThreadingHTTPServer] = []
        pki.ensure_ca(folder / "pki", "test")

    @property
    def ca_file(self) -> str:
        return str(self.folder / "pki" / "ca.crt")

    def leaf(self, pod: str) -> Mapping[str, str]:
        """One for all members of a room, as kit makes it."""
        mine = [name for name in ADDRESS if room_of(name) == room_of(pod)]
        names = ["localhost", f"{room_of(pod)}-members.{full(pod).partition('members.')[2]}"]
        return pki.ensure_leaf(
            self.folder / "pki",
            f"{room_of(pod)}-tls",
            [*names, *map(full, mine)],
            [ADDRESS[name] for name in mine],
            usage=pki.Usage.BOTH,
        ).secret_data()

    def prepare(self, pod: str) -> Path:
        """The pod's files; what it keeps stays as it is."""
        home, room = self.folder / pod, room_of(pod)
        parts = {
            "files": test_observe.files(self.documents[room], f"{room}-files"),
            "tls": self.leaf(pod),
            "auth": {fronts.USERS_FILE: fronts.users_file({"probe": PASSWORD})},
        }
        name = {"prometheus": "rules", "alertmanager": "page"}[room]
        parts[name] = test_observe.files(self.documents[room], f"{room}-{name}")
        for part, data in parts.items():
            (home / part).mkdir(parents=True, exist_ok=True)
            for file, text in data.items():
                made = text if part == "tls" else self.adapted(file, text, pod)
                (home / part / file).write_text(made)
        (home / "data").mkdir(exist_ok=True)
        return home

    def adapted(self, file: str, text: str, pod: str) -> str:
        """The same for this machine."""
        text = text.replace("/etc/apadana/", f"{self.folder / pod}/")
        for pattern, instead in FASTER.items():
            text = re.sub(pattern, instead, text)
        if file == "haproxy.cfg":
            text = re.sub(r"bind :", f"bind {ADDRESS[pod]}:", text)
            text = text.replace("127.0.0.1:", f"{ADDRESS[pod]}:")
            text = re.sub(r"(server (\S+)) \S+?:9444", self._by_address, text)
            text = text.replace(" resolvers cluster resolve-prefer ipv4 init-addr none", "")
            return re.sub(r"resolvers cluster\n(  .*\n)+", "", text)
        return self._targets(text) if "scrape_configs:" in text else text

    def _by_address(self, found: re.Match[str]) -> str:
        return f"{found[1]} {ADDRESS[found[2]]}:9444"

    def _targets(self, text: str) -> str:
        """Names become addresses, with the labels that the names would have given."""
        config = yaml.safe_load(text)
        managers = config["alerting"]["alertmanagers"][0]["static_configs"]
        managers[0]["targets"] = [self._address(name) for name in managers[0]["targets"]]
        kept = [job for job in config["scrape_configs"] if self._here(job)]
        for job in kept:
            (group,) = job["static_configs"]
            job["static_configs"] = [
                {"targets": [self._address(name)], "labels": group["labels"] | {"member": name.partition(".")[0]}}
                for name in group["targets"]
            ]
            job.pop("relabel_configs")
        return yaml.safe_dump(config | {"scrape_configs": kept})

    def _here(self, job: Mapping[str, Any]) -> bool:
        """Of the rooms that stand here; what is found by DNS, and who looks at certificates, is not."""
        groups = job.get("static_configs", [])
        return bool(groups) and groups[0]["labels"].get("component") in COUNTS

    def _address(self, target: str) -> str:
        name, _, port = target.rpartition(":")
        return f"{ADDRESS[name.partition('.')[0]]}:{port}"

    def start(self, pod: str) -> None:
        """The engine and its front."""
        home, room = self.prepare(pod), room_of(pod)
        ((_, template),) = datarooms.templates(self.documents[room])
        engine = template["spec"]["containers"][0]
        words = [
            word.replace("/etc/apadana/", f"{home}/")
            .replace("=/data", f"={home}/data")
            .replace("127.0.0.1", ADDRESS[pod])
            .replace("0.0.0.0", ADDRESS[pod])
            .replace("$(POD_IP)", ADDRESS[pod])
            for word in engine["args"]
        ]
        words = [self._peer(word) for word in words]
        program = engine["command"][0].removeprefix("/usr/")
        config = home / "files" / "haproxy.cfg"
        users = home / "auth" / fronts.USERS_FILE
        self._run(pod, [*debian_programs.command(self.roots[room], program, data=True), *words])
        front = debian_programs.command(self.roots[room], "sbin/haproxy")
        self._run(f"{pod}-front", [*front, "-db", "-f", str(config), "-f", str(users)])

    def _peer(self, word: str) -> str:
        option, _, target = word.partition("=")
        return f"{option}={self._address(target)}" if option == "--cluster.peer" else word

    def _run(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self, pod: str) -> None:
        """SIGKILL to both, as when its host dies."""
        for name in (pod, f"{pod}-front"):
            process = self.running.pop(name)
            process.kill()
            process.wait()

    def serve(self) -> None:
        """What is watched, and who is told."""
        told = self.told

        class Hook(Quiet):
            def do_POST(self) -> None:
                told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.answer(b"")

        doors: list[tuple[str, int, type[Quiet], str]] = [(*HOOK, Hook, "")]
        for room, (count, port) in WATCHED.items():
            pods = [f"{room}-{index}" for index in range(count)]
            doors += [(ADDRESS[pod], port, Quiet, pod) for pod in pods]
        for address, port, handler, pod in doors:
            server = http.server.ThreadingHTTPServer((address, port), handler)
            if pod and room_of(pod) != "kafka":
                self.leaf(pod)
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                stem = self.folder / "pki" / f"{room_of(pod)}-tls"
                context.load_cert_chain(f"{stem}.crt", f"{stem}.key")
                server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.servers.append(server)

    def target(self, room: str) -> Target:
        """What a probe is given; names are addresses."""
        module = importlib.import_module(f"components.{room}.settings")
        part = Component.model_validate(module.contract(test_observe.LAB.rooms[room], test_observe.SITE))
        expected = targets.expected(test_observe.SITE)
        here = [s.job for s in targets.scrapes(test_observe.SITE) if s.hosts and s.room in COUNTS]
        expected["targets"] = {job: n for job, n in expected["targets"].items() if job in here}
        expected["certificates"] = {}
        endpoints = [
            Endpoint(e.protocol, ",".join(map(self._address, e.address.split(",")))) for e in part.endpoints_in
        ]
        members = [Member(member.name, None, member.role) for member in part.members]
        secret = {"expected": json.dumps(expected)}
        return Target(room, endpoints, "probe", PASSWORD, self.ca_file, members=members, extra=secret)

    def stop(self) -> None:
        for process in self.running.values():
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()
        for server in self.servers:
            server.shutdown()
            server.server_close()


@contextmanager
def layer(folder: Path) -> Iterator[Layer]:
    """Started, and stopped whatever happens; NotHereError where the programs can't be had."""
    made = Layer(folder)
    try:
        made.serve()
        for pod in ADDRESS:
            if room_of(pod) in ROOMS:
                made.start(pod)
        yield made
    finally:
        made.stop()


def until(look: Any, wanted: Any, seconds: float) -> Any:
    """What `look` says when it says what is wanted, or in the end."""
    end = time.monotonic() + seconds
    while True:
        try:
            seen = look()
        except (OSError, KeyError, ValueError) as error:
            seen = f"{type(error).__name__}: {error}"
        if seen == wanted or time.monotonic() > end:
            return seen
        time.sleep(0.2)  # between two looks at a condition that has a deadline
