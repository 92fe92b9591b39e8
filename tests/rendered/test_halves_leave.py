"""A half whose room is switched off, on a real API server: it leaves nothing behind, and takes what people made with it
only when it is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.kubectl import Kubectl, find
from components.kit.surroundings import built
from road import leaving, retire
from road.place import Place, place
from road.pulumi import Stack
from road.work import StepFailed, Work
from tests.rendered.apiserver import ApiServer
from tests.rendered.test_plain_pulumi import LAYER, SITE, STACK, Cli

pytestmark = pytest.mark.rendered
PROGRAM = """
import os

import pulumi
from pulumi_kubernetes import Provider
from pulumi_kubernetes.core.v1 import ConfigMap

from components.kit import half, protecting
from components.kit.manifests import PART_OF, manifest

protecting.protect()
options = pulumi.ResourceOptions(provider=Provider("kubernetes", kubeconfig=os.environ["CLUSTER"]))
alone = {"pulumi.com/skipAwait": "true", "pulumi.com/deletionPropagationPolicy": "background"}


class ToyHalf(half.ClusterHalf):
    pass


def definition(kind):
    plural = kind.lower() + "s"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return manifest(
        "apiextensions.k8s.io/v1", "CustomResourceDefinition", plural + ".toy.test",
        spec={
            "group": "toy.test", "scope": "Namespaced", "names": {"kind": kind, "plural": plural},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    )


kinds = [kind for kind in os.environ.get("KINDS", "").split(",") if kind]
if kinds:
    home = manifest("v1", "Namespace", half.namespace("toy"))
    front = manifest("v1", "Service", "hook", namespace=half.namespace("toy"), spec={"ports": [{"port": 1}]})
    own = manifest("toy.test/v1", kinds[0], "ours", namespace="default", spec={})
    items = [home, *map(definition, kinds), front, own]
    for item in items:
        item["metadata"]["annotations"] = alone
    ToyHalf("toy", items, options)
meta = {"namespace": "default", "annotations": alone, "name": "words"}
ConfigMap("words", metadata=meta, data={"a": "1"}, opts=options)
"""


class Road(Stack):
    """The road's stack, on the small project."""

    def __init__(self, cli: Cli, work: Work) -> None:
        self.work, self.name, self.program = work, STACK, cli.program
        self.environment = {**cli.environment, "NO_COLOR": "1", "PULUMI_RUN_PROGRAM": "false"}
        self.settings = str(cli.places.stack_config(STACK))

    def wishes(self, kinds: str) -> None:
        self.environment["KINDS"] = kinds


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    server = ApiServer(tmp_path)
    try:
        found = Cli(tmp_path / "pulumi", server, PROGRAM)
        found(0, "up", "--yes", "--skip-preview", KINDS="Job,Wish")
        yield found
    finally:
        server.stop()


def where(cli: Cli, monkeypatch: pytest.MonkeyPatch, forget: str = "") -> Place:
    monkeypatch.setenv("APADANA_STATE", str(cli.places.state_root))
    return replace(place(SITE, {**cli.environment, "FORGET": forget}), repository=cli.project)


def road(cli: Cli, monkeypatch: pytest.MonkeyPatch, kinds: str, forget: str = "") -> Road:
    found = Road(cli, Work(where(cli, monkeypatch, forget), LAYER, ""))
    found.wishes(kinds)
    return found


def make(cli: Cli, kind: str, name: str, *finalizers: str) -> None:
    metadata = {"name": name, "namespace": "default", "finalizers": list(finalizers)}
    cli.server.make({"apiVersion": "toy.test/v1", "kind": kind, "metadata": metadata, "spec": {}})


def there(cli: Cli) -> set[str]:
    """Of the half."""
    paths = {
        "jobs": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/jobs.toy.test",
        "wishs": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/wishs.toy.test",
        "hook": "/api/v1/namespaces/apadana-toy/services/hook",
        "words": "/api/v1/namespaces/default/configmaps/words",
    }
    return {name for name, path in paths.items() if cli.server.call("GET", path)[0] == 200}


def namespaced(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """No controller runs here: nobody takes a namespace's own finalizer away."""
    call = Work.call

    def without(self: Work, *argv: str, **more: Any) -> str:
        if "namespace" in argv:
            kubectl = Kubectl(find(self.place.bundle), self.place.kubeconfig, built())
            kubectl.run("delete", "namespace", argv[argv.index("namespace") + 1], "--wait=false", timeout=60)
            return ""
        return call(self, *argv, **more)

    monkeypatch.setattr(Work, "call", without)


def test_what_people_made_keeps_a_half_until_it_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    namespaced(cli, monkeypatch)
    for name in ("one", "two"):
        make(cli, "Job", name)
    before = there(cli)
    assert before == {"jobs", "wishs", "hook", "words"}
    off = road(cli, monkeypatch, "", forget=f"other,{STACK}/other")
    with pytest.raises(StepFailed) as told:
        leaving.let_go(off, off.plan())
    said = str(told.value)
    # `ours` is the stack's own, and is no reason to ask.
    assert "toy: 2 Job (default/one, default/two)" in said and "Wish" not in said
    assert f"make up SITE={SITE} FORGET={STACK}/toy" in said
    assert there(cli) == before and cli.server.call("GET", "/apis/toy.test/v1/namespaces/default/jobs/one")[0] == 200
    named = road(cli, monkeypatch, "", forget=f"{STACK}/toy")
    plan = leaving.let_go(named, named.plan())
    assert not plan.refusals and plan.changes
    named.up()
    assert there(cli) == {"words"}
    state = json.loads(named.data("stack", "export"))
    assert "toy" not in json.dumps(state["deployment"]["resources"])
    assert named.plan().changes == 0


def test_a_half_that_nobody_uses_goes_without_a_word(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    namespaced(cli, monkeypatch)
    off = road(cli, monkeypatch, "")
    plan = leaving.let_go(off, off.plan())
    assert not plan.refusals
    # Cut off here, the next run goes on: what is gone is not counted.
    again = road(cli, monkeypatch, "")
    plan = leaving.let_go(again, again.plan())
    assert not plan.refusals
    again.up()
    assert there(cli) == {"words"}


def test_a_definition_that_a_half_no_longer_has_stays(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A smaller half is no half that is switched off: also by name it is refused as before."""
    less = road(cli, monkeypatch, "Job", forget=f"{STACK}/toy")
    plan = leaving.let_go(less, less.plan())
    assert [str(each).split(": ")[0] for each in plan.refusals] == [
        "would delete CustomResourceDefinition wishs.toy.test"
    ]
    assert there(cli) == {"jobs", "wishs", "hook", "words"}


def test_an_object_that_can_not_go_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    make(cli, "Job", "kept", "toy.test/nobody")
    monkeypatch.setattr(leaving, "WAIT", ("--wait=true", "--timeout=3s"))
    named = road(cli, monkeypatch, "", forget=f"{STACK}/toy")
    with pytest.raises(StepFailed, match=r"jobs\.toy\.test: an object of this kind has a finalizer"):
        leaving.let_go(named, named.plan())
    assert {"hook", "wishs"} <= there(cli)


def test_a_layer_that_is_taken_off_asks_for_what_people_made(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stack file is gone; the namespace of the half holds data in the sense of the road."""
    namespaced(cli, monkeypatch)
    make(cli, "Wish", "mine")
    monkeypatch.setattr(retire, "Stack", lambda work, *_, **__: Road(cli, work))
    with pytest.raises(StepFailed, match=r"(?s)1 Wish \(default/mine\).*FORGET=nowhere-data"):
        retire.remove(Work(where(cli, monkeypatch), "retired", ""), LAYER)
    assert {"jobs", "wishs"} <= there(cli)
    retire.remove(Work(where(cli, monkeypatch, STACK), "retired", ""), LAYER)
    assert there(cli) == set()
