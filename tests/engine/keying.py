"""The room `feast` behind its real front, and model servers that look up features there."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from components.feast import settings as room
from components.kit import fronts
from tests import debian_programs, ports
from tests.engine import featuring
from tests.engine.modelserving import Server, Wanted
from tests.rendered import datarooms, objects
from tests.unit.test_feast_settings import site

WORDS = {room.PROBE: "a-probe", room.READER: "a-reader"}


@dataclass
class Front:
    """What stands before a feature server in its pod: TLS, and who may do what."""

    feast: featuring.Feast
    name: str
    port: int = field(default_factory=ports.free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        return self.feast.made.state / self.name

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    def start(self, words: Mapping[str, str]) -> None:
        """With these passwords, by the chart's own settings."""
        try:
            program = debian_programs.command(debian_programs.root("image/feast"), "sbin/haproxy")
        except debian_programs.NotHereError as error:
            pytest.skip(str(error))
        documents = objects.rendered(room.ROOM, room.Settings(), site())
        text = datarooms.named(documents, "ConfigMap", "feast-files")["data"]["haproxy.cfg"]
        leaf = self.feast.made.leaf.secret_data()
        files = {"files/haproxy.cfg": self._adapted(text)} | {f"tls/{name}": leaf[name] for name in leaf}
        files[f"auth/{fronts.USERS_FILE}"] = fronts.users_file(words, [room.READER])
        for name, content in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(content)
        told = ["-db", "-f", self.folder / "files/haproxy.cfg", "-f", self.folder / "auth" / fronts.USERS_FILE]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*program, *map(str, told)], stdout=log, stderr=log)
        self.feast.made.processes[self.name] = self.process
        self.feast.made.listens(self.name, self.port)

    def _adapted(self, text: str) -> str:
        """Folder and ports of this machine."""
        text = text.replace("/etc/apadana/", f"{self.folder}/").replace(
            "127.0.0.1:16566", f"127.0.0.1:{self.feast.port}"
        )
        text = re.sub(rf"bind :{room.WEB_PORT}", f"bind {ports.HOST}:{ports.free_port()}", text)
        return re.sub(rf"bind :{room.API_PORT}", f"bind {ports.HOST}:{self.port}", text)

    def end(self) -> None:
        """As when its pod is lost."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def login(self, user: str = room.READER, word: str = WORDS[room.READER]) -> Path:
        """What a pod mounts."""
        folder = self.folder / f"login-{user}"
        folder.mkdir(parents=True, exist_ok=True)
        ca = (self.feast.made.state / "pki" / "ca.crt").read_text()
        for name, content in (("username", user), ("password", word), ("ca.crt", ca)):
            (folder / name).write_text(content)
        return folder


def arguments(front: Front, login: Path, *more: str, ms: int = 1000) -> list[str]:
    """Of a model server that looks up. The deadline of a site is 50 ms; here other tests may be at work beside it."""
    told = [f"--features={front.address}", f"--features_login={login}", f"--features_ms={ms}"]
    return ["--model_name=churn", "--model_version=1111111111", *told, *more]


def wanted(make: str, told: list[str]) -> Wanted:
    return Wanted({"": make}, told)


def keyed(keys: list[Any], datatype: str = "INT64", name: str = "customer_id", **brought: list[float]) -> bytes:
    """A question that says whom it is about, and what else is known."""
    inputs = [{"name": name, "shape": [len(keys)], "datatype": datatype, "data": keys}]
    inputs += [{"name": k, "shape": [len(v)], "datatype": "FP64", "data": v} for k, v in brought.items()]
    return json.dumps({"id": "q-1", "inputs": inputs}).encode()


def asked(server: Server, body: bytes) -> tuple[int, dict[str, Any]]:
    """Status and answer."""
    status, text = server.call("POST", "/v2/models/churn/infer", body)
    return status, json.loads(text)
