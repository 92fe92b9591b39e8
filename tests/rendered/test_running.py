"""What the validator says of everything that runs, of the pods that the lab's settings make."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import yaml

from components.kit import contract, manifest
from components.kit.probing import Verdict
from tests.rendered.datarooms import Document, helm_template
from tests.rendered.objects import halved
from tests.rendered.test_kit_discovered import LAB, ROOMS, SITE
from validate.suites.checks import running

pytestmark = pytest.mark.rendered


def made(room: str) -> list[Document]:
    settings = LAB.rooms[room]
    values = importlib.import_module(f"components.{room}.settings").values(settings, SITE)
    done = helm_template(room, values, SITE.namespace)
    assert done.returncode == 0, done.stderr
    documents = [d for d in yaml.safe_load_all(done.stdout) if d]
    return documents + halved(room, settings, SITE)


def pods(documents: list[Document]) -> list[Document]:
    """One pod of each workload, as its controller would make it."""
    found = []
    for document in documents:
        if document["kind"] in running.WORKLOADS:
            spec = document["spec"]
            template = spec.get("jobTemplate", {}).get("spec", spec)["template"]
            space = document["metadata"].get("namespace", SITE.namespace)
            meta = {"name": document["metadata"]["name"], "namespace": space}
            labels = template.get("metadata", {}).get("labels", {})
            found.append(
                {"kind": "Pod", "metadata": {**meta, "labels": labels}, "spec": template["spec"]}
            )
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_of_the_lab_is_found_wrong(room: str) -> None:
    documents = made(room)
    running_pods = pods(documents)
    assert running_pods
    images = {c["image"] for pod in running_pods for c in running._containers(pod)}
    assert all(image.startswith(f"{manifest.REGISTRY}/") for image in images)
    bundle = manifest.Bundle("", {image: image for image in images}, {}, charts={room: ""})
    described: dict[str, Any] = {"name": room, "version": "1", "mode": "managed"}
    away = {pod["metadata"]["namespace"] for pod in running_pods} - {SITE.namespace}
    described["workloads"] = [
        {"role": "away", "replicas": 1, "labels": {"x": "y"}, "namespace": space} for space in away
    ]
    platform = contract.Platform.model_validate(
        {
            "site": "lab", "deployer": "pulumi", "namespace": SITE.namespace,
            "bundle_digest": f"sha256:{'0' * 64}", "components": [described],
        }
    )  # fmt: skip
    listed = [*documents, *running_pods]
    for look in (running.images, running.privilege, running.shares, running.home, running.charts):
        check = look(running.Seen(platform, bundle, listed, ()))
        assert check.verdict is Verdict.PASS, check.detail
