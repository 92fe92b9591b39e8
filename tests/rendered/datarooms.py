"""What every chart of a data room must show when it is rendered as the stack renders it."""

from __future__ import annotations

import importlib
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import yaml

from components.kit.discovery import rooms
from components.kit.settings import SiteFacts
from stacks.halves import FILE, half_class
from tests.repo import charts
from tests.repo.charts import ROOT

Document = dict[str, Any]
DIGEST = "sha256:" + "1" * 64
IMAGES = {name: f"apadana.local/{name}@{DIGEST}" for name in ("postgres", "valkey")}
SITE = SiteFacts("test", "platform", images=IMAGES)
# What the built-in `admin` role of a namespace lets an installer create.
TENANT_KINDS = {
    "ConfigMap",
    "CronJob",
    "Deployment",
    "Job",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Role",
    "RoleBinding",
    "Service",
    "ServiceAccount",
    "StatefulSet",
}


def values(room: str, **settings: object) -> dict[str, Any]:
    module = importlib.import_module(f"components.{room}.settings")
    found: dict[str, Any] = module.values(module.Settings(**settings), SITE)
    return found


def helm_template(room: str, given: dict[str, Any], namespace: str = "platform") -> subprocess.CompletedProcess[str]:
    chart = ROOT / "components" / room / "chart"
    command = [str(charts.helm()), "template", room, str(chart), "--namespace", namespace, "--values", "-"]
    return subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=60)


def render(room: str, **settings: object) -> list[Document]:
    done = helm_template(room, values(room, **settings))
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def named(documents: list[Document], kind: str, name: str) -> Document:
    found = [d for d in documents if d["kind"] == kind and d["metadata"]["name"] == name]
    assert found, f"no {kind} {name} among {[(d['kind'], d['metadata']['name']) for d in documents]}"
    return found[0]


def templates(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    for document in documents:
        if document["kind"] in ("StatefulSet", "Deployment"):
            yield document["metadata"]["name"], document["spec"]["template"]


def _plural(kind: str) -> str:
    """As definitions name kinds."""
    word = kind.lower()
    return f"{word[:-1]}ies" if word.endswith("cy") else f"{word}s"


def assert_namespaced(documents: list[Document]) -> None:
    granted = {name.partition(".")[0] for room in rooms() if room.has(FILE) for name in half_class(room).granted}
    kinds = {d["kind"] for d in documents if _plural(d["kind"]) not in granted}
    assert kinds <= TENANT_KINDS, f"a tenant cannot make {sorted(kinds - TENANT_KINDS)}"
    for document in documents:
        assert document["metadata"]["namespace"] in ("platform", "platform-work")
        assert "helm.sh/hook" not in json.dumps(document)


def assert_restricted(documents: list[Document]) -> None:
    """The Pod Security Standard `restricted`, and a root that cannot be written."""
    for name, template in templates(documents):
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            assert not spec.get(key), (name, key)
        assert not [v for v in spec["volumes"] if "hostPath" in v], name
        for container in [*spec["containers"], *spec.get("initContainers", [])]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, (name, container["name"])
            assert security["readOnlyRootFilesystem"] is True, (name, container["name"])
            assert security["capabilities"] == {"drop": ["ALL"]}, (name, container["name"])


def assert_complete(documents: list[Document]) -> None:
    """Resources, three probes, an image by digest, no secret in the environment."""
    for name, template in templates(documents):
        for container in template["spec"]["containers"]:
            where = (name, container["name"])
            assert {"requests", "limits"} <= set(container["resources"]), where
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                assert probe in container, (where, probe)
            assert "@sha256:" in container["image"], where
            assert "secretKeyRef" not in json.dumps(container.get("env", [])), where


def assert_guarded(documents: list[Document]) -> None:
    """Each workload is inside the room's default-deny; each of several pods has its budget."""
    denied = [
        d["spec"]["podSelector"]["matchLabels"]
        for d in documents
        if d["kind"] == "NetworkPolicy" and not d["spec"].get("ingress")
    ]
    budgets = [d["spec"]["selector"]["matchLabels"] for d in documents if d["kind"] == "PodDisruptionBudget"]
    alone = {
        d["metadata"]["name"]
        for d in documents
        if d["kind"] in ("StatefulSet", "Deployment") and d["spec"]["replicas"] == 1
    }
    for name, template in templates(documents):
        labels = template["metadata"]["labels"].items()
        assert any(set(each.items()) <= set(labels) for each in denied), f"{name}: no default-deny"
        if name not in alone:
            assert any(set(each.items()) <= set(labels) for each in budgets), f"{name}: no budget"


def assert_sound(documents: list[Document]) -> None:
    assert_namespaced(documents)
    assert_restricted(documents)
    assert_complete(documents)
    assert_guarded(documents)
