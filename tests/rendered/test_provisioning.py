"""The job that makes what is asked for at a client's store: its objects, of every room of stores."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from components.kit.discovery import rooms
from components.kit.providing import ProviderSettings
from components.kit.settings import ComponentSettings, Mode, SiteFacts
from stacks.composition import compose
from tests.images import AnyImage
from tests.rendered import objects
from tests.rendered.apiserver import ApiServer
from tests.rendered.datarooms import Document, assert_namespaced

pytestmark = pytest.mark.rendered
STORES = [room.name for room in rooms() if issubclass(room.settings_class(), ProviderSettings)]
LAB = compose("lab")


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> objects.Maker:
    return objects.Maker(tmp_path, monkeypatch)


def external(room: str, **more: Any) -> tuple[ComponentSettings, SiteFacts]:
    """The lab, with this one store the client's."""
    users, epoch, given = more.pop("users", True), more.pop("epoch", 1), more.pop("given", True)
    model = type(LAB.rooms[room])
    where: dict[str, Any] = {"addresses": ["one.client:1111", "two.client:1111"], "secret_ref": "probes-own"}
    where |= {"ca_ref": "clients-ca"} | more
    if given:
        where["provision"] = {"secret_ref": "clients-account", "users": users}
    settings = model.model_validate({"mode": "external", "external": where, "epoch": epoch})
    facts = LAB.site.facts(AnyImage(), {**LAB.rooms, room: settings}, LAB.inventory)
    return settings, facts


def of(made: list[Document], kind: str) -> list[Document]:
    return [each for each in made if each["kind"] == kind]


def job(made: list[Document]) -> Document:
    (found,) = of(made, "Job")
    return found


def test_every_store_has_a_way() -> None:
    assert len(STORES) == 4


@pytest.mark.parametrize("room", STORES)
def test_the_objects_are_taken_and_restricted(room: str, maker: objects.Maker, server: ApiServer) -> None:
    made = maker.made(room, *external(room))
    assert_namespaced([each for each in made if each["kind"] != "Secret"])
    assert [told for each in made if (told := server.refusal(each))] == []
    level = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    status, said = server.call("PATCH", "/api/v1/namespaces/platform", level)
    assert status == 200, said
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "platform"}}
    # The service account of a namespace comes from a controller, and none runs here.
    spec = {**job(made)["spec"]["template"]["spec"], "serviceAccountName": "default"}
    spec.pop("priorityClassName", None)
    server.make(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "platform"}}
    )
    assert server.refusal({**pod, "spec": spec}) is None
    unsafe = {**spec, "securityContext": {}, "containers": [{"name": "a", "image": "a"}]}
    assert "restricted" in str(server.refusal({**pod, "spec": unsafe})), "the namespace takes anything"


@pytest.mark.parametrize("room", STORES)
def test_users_and_their_secrets_are_the_platforms_and_the_probes_is_the_clients(
    room: str, maker: objects.Maker
) -> None:
    settings, site = external(room)
    made = maker.made(room, settings, site)
    assert isinstance(settings, ProviderSettings)
    owners = set(settings.owners(site)) - {"probe"}
    assert owners, "nobody asks anything of it"
    secrets = {each["metadata"]["name"] for each in of(made, "Secret")}
    assert secrets == {f"{room}-client-{owner}" for owner in owners}
    told = json.loads(next(e for e in of(made, "ConfigMap"))["data"]["wanted.json"])
    assert {user.get("name") or user["owner"] for user in told["users"] if user["made"]} == owners
    assert told["address"] == "one.client:1111,two.client:1111"
    sources = json.dumps(job(made)["spec"]["template"]["spec"]["volumes"])
    assert '"probes-own"' in sources and '"clients-account"' in sources and f'"{room}-client-probe"' not in sources


@pytest.mark.parametrize("room", STORES)
def test_without_an_account_or_its_users_nothing_of_the_clients_is_made(room: str, maker: objects.Maker) -> None:
    assert maker.made(room, *external(room, given=False)) == []
    kinds = {each["kind"] for each in maker.made(room, *external(room, users=False))}
    assert kinds == {"ConfigMap", "NetworkPolicy", "Job"}


@pytest.mark.parametrize("room", STORES)
def test_no_password_is_in_what_the_job_is_told(room: str, maker: objects.Maker) -> None:
    made = maker.made(room, *external(room, epoch=2))
    passwords = [
        value
        for each in of(made, "Secret")
        for key, value in each["data"].items()
        if "before" in each["metadata"]["name"] or key == "password"
    ]
    assert len(passwords) >= 2
    plain = json.dumps([each for each in made if each["kind"] != "Secret"])
    for word in passwords:
        assert word not in plain and base64.b64decode(word).decode() not in plain


@pytest.mark.parametrize("room", STORES)
def test_another_epoch_is_another_job_and_the_same_settings_the_same(room: str, maker: objects.Maker) -> None:
    first, again, later = (job(maker.made(room, *external(room, epoch=n))) for n in (1, 1, 2))
    assert first["metadata"]["name"] == again["metadata"]["name"] != later["metadata"]["name"]
    held = [each.get("secret", {}).get("name") for each in _sources(later)]
    assert f"{room}-provision-before" in held


def _sources(found: Document) -> list[Document]:
    volumes = found["spec"]["template"]["spec"]["volumes"]
    return [each for volume in volumes for each in volume.get("projected", {}).get("sources", ())]


@pytest.mark.parametrize("room", STORES)
def test_the_pod_reaches_the_name_server_and_the_store_alone(room: str, maker: objects.Maker) -> None:
    made = maker.made(room, *external(room))
    (policy,) = of(made, "NetworkPolicy")
    assert not policy["spec"]["ingress"]
    dns, store = policy["spec"]["egress"]
    assert "kube-system" in json.dumps(dns) and store == {"ports": [{"protocol": "TCP", "port": 1111}]}
    labels = job(made)["spec"]["template"]["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_the_stores_of_the_lab_are_ours() -> None:
    """What the tests above change is one store of four that run here."""
    assert {LAB.rooms[room].mode for room in STORES} == {Mode.MANAGED}
