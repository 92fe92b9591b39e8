"""The objects that a site's stacks would make, rendered by the bundle's helm. Asks no cluster, makes no key."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from components.kit import surroundings
from components.kit.discovery import COMPONENTS, rooms
from components.kit.discovery import room as find
from components.kit.half import PaperKeys
from components.kit.manifests import Manifest, manifest
from components.kit.mistakes import SiteError
from components.kit.settings import Mode, SiteFacts
from components.kit.webs import PROXY_PODS
from stacks.halves import FILE, half_class

CHART = "chart/Chart.yaml"
TIMEOUT_SECONDS = 60
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is ten times faster


def rendered(site: SiteFacts, helm: Path) -> dict[str, list[Manifest]]:
    """By room, of every room that runs here: its chart and its half, without its definitions."""
    here = [each.name for each in rooms() if each.name in site.rooms and site.rooms[each.name].mode is Mode.MANAGED]
    return {name: [*_halved(name, site), *_charted(name, site, helm)] for name in here}


def _halved(room: str, site: SiteFacts) -> Iterator[Manifest]:
    if find(room).has(FILE):
        for item in half_class(find(room)).objects(site.rooms[room], site, PaperKeys()):
            yield proxies(item) if item["kind"] == "EnvoyProxy" else dict(item)


def _charted(room: str, site: SiteFacts, helm: Path) -> list[Manifest]:
    if not find(room).has(CHART):
        return []
    values = find(room).module("settings").values(site.rooms[room], site)
    command = [str(helm), "template", room, str(COMPONENTS / room / "chart"), "--namespace", site.namespace]
    try:
        done = subprocess.run(
            [*command, "--values", "-"],
            input=json.dumps(values),
            capture_output=True,
            text=True,
            env=surroundings.built(),
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except OSError as error:
        raise SiteError(
            f"{helm} can't be started ({error.strerror}); build the bundle: python -m bundle build"
        ) from None
    if done.returncode:
        raise SiteError(f"the chart of {room} can't be rendered: {done.stderr.strip()}")
    return [document for document in yaml.load_all(done.stdout, _LOADER) if document]


def proxies(form: Mapping[str, Any]) -> Manifest:
    """The Deployment that the gateway's controller makes of its form."""
    said = form["spec"]["provider"]["kubernetes"]["envoyDeployment"]
    patched = said["patch"]["value"]["spec"]["template"]["spec"]
    envoy = {"name": "envoy", **said["container"]}
    beside = [{"image": envoy["image"], **each} for each in patched["containers"] if each["name"] != envoy["name"]]
    pod = {key: said["pod"][key] for key in ("affinity", "securityContext", "priorityClassName") if key in said["pod"]}
    spec = {
        "replicas": said["replicas"],
        "selector": {"matchLabels": dict(PROXY_PODS)},
        "template": {"metadata": {"labels": dict(PROXY_PODS)}, "spec": {**pod, "containers": [envoy, *beside]}},
    }
    return manifest("apps/v1", "Deployment", said["name"], namespace=form["metadata"]["namespace"], spec=spec)
