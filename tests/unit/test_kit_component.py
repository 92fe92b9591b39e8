"""The base of components, run with Pulumi's own mocks: no cluster, no state."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi.runtime import Mocks

from components.kit import pki
from components.kit.component import PlatformComponent, Vault
from components.kit.discovery import layer
from components.kit.settings import ComponentSettings, SiteFacts
from stacks.program import component_class

SITE = SiteFacts("lab")


class Recorder(Mocks):
    """Keeps what was registered; answers with the inputs."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        self.made.append(args)
        return f"{args.name}-id", args.inputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        return {}, None


class Store(PlatformComponent[ComponentSettings]):
    def managed(self) -> Mapping[str, Any]:
        self.secret("store-auth", {"password": self.password("probe")})
        self.tls_secret("store-tls", ["store"])
        rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
        self.grant("store", [rule, {**rule, "resourceNames": ["one"]}, {**rule, "resourceNames": []}])
        return {"name": "store", "version": "1", "mode": "managed"}


class Wrong(PlatformComponent[ComponentSettings]):
    def managed(self) -> Mapping[str, Any]:
        return {"name": "wrong", "version": "1", "mode": "managed", "password": "x"}


@pytest.fixture
def recorder() -> Recorder:
    # Pulumi wants the thread's own loop, and an asyncio.run of another test takes it away.
    asyncio.set_event_loop(asyncio.new_event_loop())
    mocks = Recorder()
    pulumi.runtime.set_mocks(mocks, project="apadana", stack="lab-data")
    return mocks


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    pki.ensure_ca(tmp_path, "lab")
    return Vault(bytes(range(32)), tmp_path)


def built(kind: type[PlatformComponent[Any]], settings: ComponentSettings, vault: Vault) -> Any:
    found: list[Any] = []

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def run() -> pulumi.Output[None]:
        return kind(settings, SITE, vault).contract.apply(found.append)

    run()
    return found[0]


def test_a_component_makes_its_objects_and_its_contract(recorder: Recorder, vault: Vault) -> None:
    contract = built(Store, ComponentSettings(), vault)
    assert contract["name"] == "store"
    assert contract["members"] == []
    kinds = [args.typ.split(":")[-1] for args in recorder.made]
    assert sorted(kinds) == ["Role", "RoleBinding", "Secret", "Secret", "Store"]
    names = {args.name for args in recorder.made}
    assert names >= {"store-auth", "store-tls"}


def test_a_right_may_be_for_named_objects_alone(recorder: Recorder, vault: Vault) -> None:
    built(Store, ComponentSettings(), vault)
    (role,) = (args for args in recorder.made if args.typ.endswith(":Role"))
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    # An empty list of names would read as a choice; it is left out, and means all of them.
    assert role.inputs["rules"] == [rule, rule | {"resourceNames": ["one"]}, rule]


def test_passwords_do_not_stand_in_plain_inputs(recorder: Recorder, vault: Vault) -> None:
    component_password = built(Store, ComponentSettings(), vault) and Store.password
    assert component_password is not None
    secret = next(args for args in recorder.made if args.name == "store-auth")
    plain = {key: value for key, value in secret.inputs.items() if key != "data"}
    assert "password" not in str(plain).replace("kubernetes", "")


def test_external_makes_only_a_contract(recorder: Recorder, vault: Vault) -> None:
    settings = ComponentSettings.model_validate(
        {"mode": "external", "external": {"addresses": ["db:1", "db2:1"], "secret_ref": "given"}}
    )
    contract = built(Store, settings, vault)
    assert contract["mode"] == "external"
    assert contract["endpoints_in"][0]["address"] == "db:1,db2:1"
    assert [args.typ.split(":")[-1] for args in recorder.made] == ["Store"]


def test_a_contract_that_does_not_fit_stops_the_run(recorder: Recorder, vault: Vault) -> None:
    with pytest.raises(Exception, match="password"):
        built(Wrong, ComponentSettings(), vault)


@pytest.mark.parametrize("room", [*layer("data"), *layer("cluster")], ids=lambda room: room.name)
def test_every_room_has_exactly_one_component(room: Any) -> None:
    assert component_class(room).__module__ == f"components.{room.name}.component"
