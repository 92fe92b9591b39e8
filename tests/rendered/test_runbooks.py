"""What the runbooks tell kubectl to touch is there: object, container, file, by the rooms' own manifests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.kit.discovery import rooms
from components.kit.settings import Mode, SiteFacts
from stacks.composition import compose
from tests import runbooks
from tests.images import AnyImage
from tests.rendered import objects
from tests.rendered.datarooms import Document
from tests.runbooks import Kubectl, placeholder

pytestmark = pytest.mark.rendered

LAB = compose("lab")
#: A room that the lab has switched off is there by its defaults: its runbook is read all the same.
SETTINGS = {
    room.name: found if found is not None and found.mode is not Mode.OFF else room.settings_class()()
    for room in rooms()
    for found in [LAB.rooms.get(room.name)]
}
SITE = LAB.site.facts(AnyImage(), SETTINGS)
CALLS = [(room, call) for room, text in runbooks.runbooks().items() for call in runbooks.kubectls(text)]
CALLS = [(room, call) for room, call in CALLS if call.words]
SHORT = {
    "pv": "PersistentVolume",
    "pvc": "PersistentVolumeClaim",
    "pod": "Pod",
    "secret": "Secret",
    "deploy": "Deployment",
    "deployment": "Deployment",
    "lease": "Lease",
    "httproute": "HTTPRoute",
    "securitypolicy": "SecurityPolicy",
    "isvc": "InferenceService",
    "workflow": "Workflow",
}
CLUSTER_SCOPED = {"PersistentVolume"}
#: No manifest of ours has them: a program makes them when it runs. This one's name is Argo's own.
MADE_THERE = {("Lease", "platform", "workflow-controller")}


class Known:
    """Objects of the lab by kind, namespace and name, and the containers of pods."""

    def __init__(self, documents: list[Document]) -> None:
        self.names = set(MADE_THERE)
        self.pods: dict[tuple[str, str], Document] = {}
        self.files: set[str] = set()
        for document in documents:
            self._add(document)

    def _add(self, document: Document) -> None:
        meta, kind, spec = document["metadata"], document["kind"], document.get("spec") or {}
        where = meta.get("namespace", "")
        self.names.add((kind, where, meta["name"]))
        if kind in ("StatefulSet", "Deployment"):
            self.pods[where, f"{kind}/{meta['name']}"] = spec["template"]["spec"]
        if kind == "StatefulSet":
            for number in range(spec["replicas"]):
                self.pods[where, f"{meta['name']}-{number}"] = spec["template"]["spec"]
        if kind == "ConfigMap":
            self.files |= set(document.get("data") or {})
        if kind == "EnvoyProxy":  # its Deployment is made by the controller, by the name that this says
            made = spec["provider"]["kubernetes"]["envoyDeployment"]
            self.names.add(("Deployment", where, made["name"]))

    def spec_of(self, where: str, pod: str) -> Document | None:
        kind, slash, name = pod.partition("/")
        return self.pods.get((where, f"{SHORT[kind]}/{name}" if slash else pod))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Known]:
    with pytest.MonkeyPatch.context() as patch:
        maker = objects.Maker(tmp_path_factory.mktemp("maker"), patch)
        yield Known([each for room in rooms() for each in every(room.name, SITE, maker)])


def every(name: str, site: SiteFacts, maker: objects.Maker) -> list[Document]:
    """What its chart, its component and its half make."""
    settings: Any = site.rooms[name]
    chart = Path("components") / name / "chart" / "Chart.yaml"
    made = objects.rendered(name, settings, site) if runbooks.exists(str(chart)) else []
    return [*made, *maker.made(name, settings, site), *objects.halved(name, settings, site)]


@pytest.mark.parametrize(("room", "call"), CALLS, ids=lambda each: getattr(each, "text", each))
def test_kubectl_finds_what_it_is_told(room: str, call: Kubectl, known: Known) -> None:
    if call.verb in ("exec", "logs"):
        assert call.namespace, "whose namespace? The shell of a site has none by default"
        inside(call, known)
        return
    first, *names = call.words
    kinds, slash, name = first.partition("/")
    for kind in kinds.split(","):
        assert kind in SHORT or call.verb == "create", f"{kind}: a kind that no test knows"
        full = SHORT.get(kind, "")
        assert call.namespace or full in CLUSTER_SCOPED, "whose namespace?"
        for each in [name] if slash else names:
            if not placeholder(each):
                assert (full, call.namespace, each) in known.names


def inside(call: Kubectl, known: Known) -> None:
    """Pod and container, and the files of ours that are read there."""
    pod, everywhere = call.words[0], [spec for (where, _), spec in known.pods.items() if where == call.namespace]
    found = [known.spec_of(call.namespace, pod)] if not placeholder(pod) else everywhere
    if ("Deployment", call.namespace, pod.partition("/")[2]) in known.names and found == [None]:
        return  # of a controller's making: its containers are not known here
    assert found != [None], f"no pod {pod}"
    containers = {
        c["name"] for spec in found if spec for kind in ("containers", "initContainers") for c in spec.get(kind, ())
    }
    assert not call.container or call.container in containers or call.namespace.endswith("-work")
    assert call.container or len(containers) < 2, f"which of {', '.join(sorted(containers))}?"
    for word in call.inside:
        for file in [part for part in word.replace(";", " ").split() if part.startswith("/opt/apadana/")]:
            assert file.removeprefix("/opt/apadana/") in known.files
