"""The gateway's halves, as objects: who may what, who stands where, and one set of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from components.gateway import controller, proxies, settings
from components.gateway.cluster import AUTHORITY, GatewayHalf
from components.gateway.probe import pages
from components.kit import contract, half, webs
from components.kit.manifests import Manifest
from components.kit.probing import Endpoint, Target
from components.kit.settings import SiteFacts
from stacks.composition import compose
from stacks.halves import half_class, wanted
from stacks.prerequisites import text
from tests.images import AnyImage

ROLES = Path(__file__).parents[2] / "roles"


SETTINGS = settings.Settings()
SITE = SiteFacts("lab", images=AnyImage(), web_domain="lab.internal", rooms={"gateway": SETTINGS})


class Recorded(half.PaperKeys):
    """Remembers who was asked to sign."""

    def __init__(self) -> None:
        self.authorities: list[str] = []

    def leaf(self, name: str, *names: Any, authority: str = "", **more: Any) -> dict[str, str]:
        self.authorities.append(authority)
        return super().leaf(name, *names, authority=authority, **more)


def objects(site: SiteFacts = SITE) -> list[Manifest]:
    return GatewayHalf.objects(SETTINGS, site, half.PaperKeys())


def one(kind: str, name: str) -> dict[str, Any]:
    (found,) = (d for d in objects() if (d["kind"], d["metadata"]["name"]) == (kind, name))
    return found


def test_the_hosts_and_the_half_have_the_same_numbers() -> None:
    role = yaml.safe_load((ROLES / "loadbalancer" / "defaults" / "main.yml").read_text())
    door, told = SETTINGS.door, role["loadbalancer_web"]
    assert (told["https_port"], told["ready_port"]) == (door.https_port, door.ready_port)
    assert told["own_ready_port"] == settings.READY_PORT
    assert ".43'" in told["address"]
    assert door.address.endswith(".0.43")


def test_a_door_leads_to_the_proxy_of_its_own_host() -> None:
    spec = one("Service", proxies.DOOR)["spec"]
    assert spec["externalTrafficPolicy"] == spec["internalTrafficPolicy"] == "Local"
    assert spec["selector"] == proxies.pods(SITE)
    assert {p["port"]: p["nodePort"] for p in spec["ports"]} == {443: 30443, 19003: 30444}


def haproxy(own: str) -> Iterator[str]:
    hosts = {"h1": {"ansible_host": "10.0.0.1"}, "h2": {"ansible_host": "10.0.0.2"}}
    web = {"https_port": 30443, "ready_port": 30444, "address": "10.96.0.43"}
    source = (ROLES / "loadbalancer" / "templates" / "haproxy.cfg.j2").read_text()
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.ChainableUndefined)
    rendered = environment.from_string(source).render(
        groups={"all": list(hosts), "control_plane": ["h1"]},
        hostvars=hosts,
        inventory_hostname=own,
        site_web_port=443,
        site_web_domain="lab.internal",
        loadbalancer_web=web | {"own_ready_port": 19003},
    )
    yield from rendered.partition("backend web\n")[2].splitlines()


def test_a_host_asks_each_host_for_its_own_proxy() -> None:
    lines = list(haproxy("h2"))
    assert "  server h1 10.0.0.1:30443 port 30444" in lines
    assert "  server h2 10.96.0.43:443 port 19003" in lines
    # Envoy answers HTTP/1.0, which is HAProxy's own choice, with 426.
    assert any("ver HTTP/1.1" in line for line in lines)


def test_controller_and_proxies_trust_an_authority_of_their_own() -> None:
    keys = Recorded()
    GatewayHalf.objects(SETTINGS, SITE, keys)
    assert keys.authorities == [AUTHORITY, AUTHORITY]
    names = controller.dns_names("apadana-gateway", SITE)
    assert names[0] == "envoy-gateway"  # what Envoy Gateway has its proxies verify


def test_it_watches_the_platform_and_its_own_namespace_only() -> None:
    given = yaml.safe_load(controller.configuration(SETTINGS, SITE))
    watched = given["provider"]["kubernetes"]["watch"]
    assert watched == {"type": "Namespaces", "namespaces": ["apadana-gateway", "platform"]}
    roles = [d for d in objects() if d["kind"] == "Role"]
    assert {d["metadata"]["namespace"] for d in roles} == set(watched["namespaces"])
    cluster = [d for d in objects() if d["kind"] == "ClusterRole"]
    wide = {kind for role in cluster for rule in role["rules"] for kind in rule["resources"]}
    assert wide == {"nodes", "namespaces", "gatewayclasses", "gatewayclasses/status"}


def test_the_installer_writes_routes_and_not_what_makes_pods() -> None:
    kinds = {name.partition(".")[0] for name in GatewayHalf.granted}
    assert {"gateways", "httproutes", "securitypolicies", "backends"} <= kinds
    assert not kinds & {"envoyproxies", "gatewayclasses"}
    assert set(GatewayHalf.granted) <= {n for names in GatewayHalf.crds.values() for n in names}


def test_one_host_takes_neither_all_controllers_nor_all_proxies() -> None:
    pod = one("Deployment", "envoy-gateway")["spec"]["template"]["spec"]
    form = one("EnvoyProxy", "apadana")["spec"]["provider"]["kubernetes"]
    for spec, labels in ((pod, controller.PODS), (form["envoyDeployment"]["pod"], webs.PROXY_PODS)):
        (term,) = spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["topologyKey"] == "kubernetes.io/hostname"
        assert term["labelSelector"]["matchLabels"] == labels
        assert spec["priorityClassName"] == "apadana-platform"
    assert form["envoyPDB"]["maxUnavailable"] == 1
    assert form["envoyDeployment"]["replicas"] >= 2


def test_a_restricted_namespace_takes_the_controller() -> None:
    pod = one("Deployment", "envoy-gateway")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert "@sha256:" in container["image"]


def test_all_pods_of_the_half_are_fenced() -> None:
    policies = {d["metadata"]["name"]: d["spec"] for d in objects() if d["kind"] == "NetworkPolicy"}
    assert policies["deny-all"] == {"podSelector": {"matchLabels": {}}, "policyTypes": ["Ingress", "Egress"]}
    controlled = policies["envoy-gateway"]["ingress"][0]
    assert controlled["from"][0]["podSelector"]["matchLabels"] == webs.PROXY_PODS


def test_the_contract_fits_and_names_each_page() -> None:
    loaded = compose("lab")
    site = loaded.facts(AnyImage())
    part = contract.Component.model_validate(settings.contract(SETTINGS, site))
    target = Target(
        name="gateway",
        username="",
        password="",
        ca_file="",
        client=part.client.model_dump(),
        endpoints=[Endpoint(**e.model_dump()) for e in part.endpoints_in],
    )
    assert pages(target) == [webs.host(page.name, site) for _, page in sorted(webs.pages(site).items())]
    assert target.endpoint("https").tls_server_name == "any.lab.internal"


def test_the_lab_has_its_halves() -> None:
    found = {room.name: half_class(room) for room in wanted(compose("lab").rooms)}
    assert found["gateway"] is GatewayHalf


@pytest.mark.parametrize("wrong", [{"https_port": 443}, {"address": "x"}, {"ready_port": 30443}])
def test_a_door_that_leads_nowhere_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"door|address|port"):
        settings.Settings.model_validate({"door": wrong})


def test_prerequisites_are_yaml_without_secrets() -> None:
    documents = [d for d in yaml.safe_load_all(text(SITE, [("gateway", objects())])) if d]
    assert len(documents) == len(objects())
    hidden = [d for d in documents if d["kind"] == "Secret"]
    assert {d["metadata"]["name"] for d in hidden} == {"envoy-gateway", "envoy", "envoy-oidc-hmac"}
    assert all(set(d["stringData"].values()) == {half.HIDDEN} for d in hidden)
