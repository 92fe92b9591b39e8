"""Halves: definitions made small, who may use them, one list for Pulumi and for paper."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import pulumi
import pytest
import yaml

from components.kit import crds, half, objects, pki
from components.kit.component import Vault
from components.kit.manifests import Manifest, manifest
from components.kit.settings import ComponentSettings, Mode, SiteFacts
from tests.unit.test_kit_component import Recorder

SITE = SiteFacts("lab")


def definition(plural: str, scope: str = "Namespaced", **schema: Any) -> dict[str, Any]:
    return {
        "apiVersion": crds.API,
        "kind": crds.KIND,
        "metadata": {"name": f"{plural}.x.io", "annotations": {"channel": "standard"}},
        "spec": {
            "group": "x.io",
            "scope": scope,
            "names": {"plural": plural},
            "versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}],
        },
        "status": {"conditions": []},
    }


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Two definitions in one file, one in another, and something else beside them."""
    folder = tmp_path / "crds" / "engine" / "generated"
    folder.mkdir(parents=True)
    things = definition("things", description="prose", type="object")
    files: dict[str, list[Any]] = {
        "a.yaml": [things, {"kind": "Role"}, None, definition("wide", "Cluster")],
        "b.yaml": [definition("others")],
    }
    for name, documents in files.items():
        (folder / name).write_text(yaml.safe_dump_all(documents))
    return tmp_path / "crds"


class Half(half.ClusterHalf[ComponentSettings]):
    crds: ClassVar = {"engine": ("things.x.io", "wide.x.io")}
    granted: ClassVar = ("things.x.io",)

    @classmethod
    def objects(cls, settings: ComponentSettings, site: SiteFacts, keys: half.Keys) -> list[Manifest]:
        leaf = keys.leaf("hook", ["hook"], authority="own")
        return [half.secret("hook", "engine", leaf | {"p": keys.password("engine/x", 1)})]


def everything(bundle: Path, keys: half.Keys) -> list[Manifest]:
    return half.everything("engine", Half, ComponentSettings(), SITE, keys, bundle)


def test_a_definition_loses_its_prose_and_nothing_else() -> None:
    properties = {"description": {"type": "string", "description": "prose"}}
    schema: dict[str, Any] = {"description": "p", "properties": properties, "default": {"description": "kept"}}
    slim = crds.slim(definition("things", "Namespaced", **schema))
    version = slim["spec"]["versions"][0]
    assert version["schema"]["openAPIV3Schema"] == {
        "properties": {"description": {"type": "string"}},
        "default": {"description": "kept"},
    }
    assert "status" not in slim
    assert slim["metadata"]["annotations"] == {"channel": "standard"}


def test_a_definition_that_the_bundle_lacks_is_told_with_those_it_has(bundle: Path) -> None:
    with pytest.raises(crds.CrdError, match=r"lacks lost\.x\.io \(it has: others\.x\.io, things"):
        crds.read(bundle, "engine", ["things.x.io", "lost.x.io"])


def test_the_installer_may_use_what_is_granted_and_no_more(bundle: Path) -> None:
    roles = [d for d in everything(bundle, half.PaperKeys()) if d["kind"] == "ClusterRole"]
    labels = {role["metadata"]["name"]: role["metadata"]["labels"] for role in roles}
    aggregate = "rbac.authorization.k8s.io/aggregate-to-"
    assert labels["apadana-engine-use"].keys() >= {f"{aggregate}admin", f"{aggregate}edit"}
    assert f"{aggregate}view" in labels["apadana-engine-see"]
    assert {tuple(rule["resources"]) for role in roles for rule in role["rules"]} == {("things",)}


def test_what_is_cluster_wide_is_granted_to_nobody(bundle: Path) -> None:
    own = crds.read(bundle, "engine", ["wide.x.io"])
    with pytest.raises(crds.CrdError, match=r"engine grants wide\.x\.io"):
        crds.grants("engine", own, ["wide.x.io"])


def test_paper_shows_no_secret_and_asks_for_no_key(bundle: Path) -> None:
    (secret,) = (d for d in everything(bundle, half.PaperKeys()) if d["kind"] == "Secret")
    assert set(secret["stringData"].values()) == {half.HIDDEN}
    assert set(secret["stringData"]) == {"ca.crt", "tls.crt", "tls.key", "p"}


def test_a_half_has_an_authority_of_its_own(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    pki.ensure_ca(folder, "lab")
    keys = half.VaultKeys(Vault(bytes(range(32)), folder), "lab")
    first, again = everything(bundle, keys), everything(bundle, keys)
    assert first == again
    assert keys.ca("own") != keys.ca()
    assert half.ca_bundle(keys, "own") != half.ca_bundle(keys)


def test_namespaces_then_definitions_then_the_rest(bundle: Path) -> None:
    ranks = [objects.rank(item) for item in everything(bundle, half.PaperKeys())]
    assert ranks == sorted(ranks)
    assert ranks[0] == 0


@pytest.mark.parametrize("mode", [Mode.OFF, Mode.EXTERNAL])
def test_a_room_that_is_not_run_here_has_no_half(mode: Mode) -> None:
    assert half.wanted(ComponentSettings())
    assert not half.wanted(ComponentSettings.model_construct(mode=mode))
    assert not half.wanted(None)


def test_pulumi_makes_what_paper_shows(bundle: Path) -> None:
    asyncio.set_event_loop(asyncio.new_event_loop())
    mocks = Recorder()
    pulumi.runtime.set_mocks(mocks, project="apadana", stack="lab-cluster")
    items = everything(bundle, half.PaperKeys())

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def run() -> None:
        Half("engine", items)

    run()
    made = {(args.typ, args.name) for args in mocks.made}
    assert ("apadana:engine:Half", "engine-half") in made
    assert ("kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition", "things.x.io") in made
    assert ("kubernetes:core/v1:Secret", "apadana-engine/hook") in made
    assert len(made) == len(items) + 1


def test_an_account_is_there_before_its_token() -> None:
    """The cluster takes a token's Secret away again where it finds no account."""
    account, token = manifest("v1", "ServiceAccount", "a"), manifest("v1", "Secret", "a")
    assert objects.rank(account) < objects.rank(token)


def test_an_object_without_a_namespace_is_called_by_its_name_alone() -> None:
    assert objects.whole_name(manifest("v1", "Namespace", "n")) == "n"
    assert objects.whole_name(manifest("v1", "Secret", "s", namespace="n")) == "n/s"
