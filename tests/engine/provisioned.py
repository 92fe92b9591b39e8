"""The job that makes things at a client's store, run as its pod would: from its objects and nothing else of ours."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from components.kit import provisioning
from components.kit.discovery import room as find
from components.kit.providing import ProviderSettings
from components.kit.settings import SiteFacts
from tests import ports
from validate.ground.kubectl import wait_for

IMAGES = {"clients": f"apadana.local/clients@sha256:{'1' * 64}"}
Secrets = dict[str, dict[str, str]]
USERS = ("asker", "reader")  # of rooms


def settings(room: str, port: int, *, users: bool = True, **more: Any) -> ProviderSettings:
    """Of a store of the client's on this port."""
    external = {
        "addresses": [f"{ports.HOST}:{port}"],
        "secret_ref": "their-probe",
        "ca_ref": "their-ca",
        "provision": {"secret_ref": "their-account", "users": users},
    }
    found = find(room).settings_class().model_validate({"mode": "external", "external": external, **more})
    assert isinstance(found, ProviderSettings)
    return found


class Pod:
    """The files that the kubelet would mount, and the process."""

    def __init__(self, folder: Path, wanted: ProviderSettings, secrets: Secrets, ca: str) -> None:
        self.room = wanted.room_name()
        self.place = folder
        assert wanted.external is not None and wanted.external.provision is not None
        site = SiteFacts("test", images=IMAGES, rooms={self.room: wanted})
        made = list(provisioning.manifests(wanted, wanted.external.provision, site, "0"))
        data = {item["metadata"]["name"]: item.get("data", {}) for item in made if item["kind"] == "ConfigMap"}
        data["their-ca"] = {"ca.crt": ca}
        (job,) = (item for item in made if item["kind"] == "Job")
        self.spec = job["spec"]["template"]["spec"]
        container = self.spec["containers"][0]
        places = {each["name"]: folder / each["mountPath"].strip("/") for each in container["volumeMounts"]}
        for volume in self.spec["volumes"]:
            sources = volume.get("projected", {}).get("sources") or [volume]
            for source in sources:
                self._lay(places[volume["name"]], source, data, secrets)
        path = [folder / each["value"].strip("/") for each in container["env"] if each["name"] == "PYTHONPATH"]
        self._command = [sys.executable, "-P", *container["command"][1:]]
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(path[0]),
            "APADANA_MOUNTS": str(folder / provisioning.MOUNTS.strip("/")),
            "PATIENCE_SECONDS": "6",
        }

    @staticmethod
    def _lay(at: Path, source: dict[str, Any], maps: Mapping[str, dict[str, str]], secrets: Secrets) -> None:
        given = source.get("configMap") or source.get("secret")
        if given is None:
            return  # an emptyDir
        held = maps.get(given["name"]) if "configMap" in source else secrets.get(given["name"])
        for item in given["items"]:
            if held is None or item["key"] not in held:
                assert given.get("optional"), f"the pod would wait for {given['name']}, {item['key']}"
                continue
            file = at / item["path"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(held[item["key"]])

    def start(self) -> subprocess.Popen[str]:
        """The process; its words come on one pipe."""
        return subprocess.Popen(
            self._command,
            cwd=self.place,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def kill(self, what: str, look: Callable[[], object], every: float = 0.001) -> None:
        """Begun, and killed as soon as `look` finds something."""
        process = self.start()
        wait_for(what, look, timeout=60, every=every)
        process.kill()
        process.communicate()

    def run(self) -> tuple[int, str]:
        """How it ended, and all that it said."""
        process = self.start()
        said = process.communicate(timeout=120)[0]
        return process.returncode, said


def secrets(room: str, account: Mapping[str, str], probe: Mapping[str, str], **passwords: str) -> Secrets:
    """The account that may make things, who proves the room, and the users of the rooms; `passwords`: other ones."""
    users = {f"{room}-client-{name}": login(name, passwords.get(name) or word(name)) for name in USERS}
    return {"their-account": dict(account), "their-probe": dict(probe), **users}


def before(room: str) -> Secrets:
    """What the users had in the epoch before; `password`: as every Secret here has one."""
    return {f"{room}-provision-before": {name: word(name) for name in USERS} | {"password": "x" * 9}}


def word(name: str) -> str:
    """A user's password."""
    return f"the-password-of-{name}"


def login(user: str, password: str, **more: str) -> dict[str, str]:
    """As a Secret holds it."""
    return {"username": user, "password": password, **more}


def nothing_leaks(said: str, secrets: Secrets) -> None:
    """No password is in a log, also not in another form."""
    for held in secrets.values():
        word = held["password"]
        for form in (word, base64.b64encode(word.encode()).decode()):
            assert form not in said
