"""People of the site's issuer, as a real API server with the role's own file takes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import pytest

from components.cluster.objects import objects
from components.cluster.settings import Settings
from components.identity.settings import Settings as Identity
from components.kit.settings import SiteFacts
from tests.issuing import Issuer
from tests.rendered.apiserver import START_S, ApiServer
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.rendered

TEMPLATE = Path(__file__).parents[2] / "roles/kubernetes/templates/people.yaml.j2"
SITE = SiteFacts("test", rooms={"identity": Identity()})
REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}


def configuration(url: str, ca: Path) -> str:
    environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
    environment.globals["lookup"] = lambda _, path: Path(path).read_text().rstrip()
    return environment.from_string(TEMPLATE.read_text()).render(
        site_issuer=url, site_issuer_ca=str(ca), site_issuer_roles_claim="roles", kubernetes_audience="kubernetes"
    )


@dataclass
class Site:
    server: ApiServer
    issuer: Issuer
    file: Path

    def who(self, token: str) -> dict[str, Any] | None:
        """As whom the server takes the token; None: it refuses it."""
        status, body = self.server.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", REVIEW, token)
        return json.loads(body)["status"]["userInfo"] if status == 201 else None

    def may(self, token: str, verb: str, resource: str, namespace: str) -> bool:
        group, _, name = resource.rpartition("/")
        asked = {"verb": verb, "group": group, "resource": name, "namespace": namespace}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        status, body = self.server.call("POST", path, review | {"spec": {"resourceAttributes": asked}}, token)
        assert status == 201, body
        return bool(json.loads(body)["status"]["allowed"])


def gather(server: ApiServer) -> None:
    """Kubernetes' own roles out of their parts, which is the work of a controller manager."""

    def get(path: str) -> Any:
        """None: it isn't there yet. The server makes its own roles after its start, on a full machine late."""
        status, body = server.call("GET", f"/apis/rbac.authorization.k8s.io/v1/{path}")
        return json.loads(body) if status == 200 else None

    last = "namespaces/kube-public/rolebindings/system:controller:bootstrap-signer"
    wait_for("the last of the server's own roles", partial(get, last), timeout=START_S)
    for name in ("view", "edit", "admin"):  # each is a part of the next
        parts = wait_for("all roles", partial(get, "clusterroles"), timeout=START_S)["items"]
        role = wait_for(f"the role {name}", partial(get, f"clusterroles/{name}"), timeout=START_S)
        mark = f"rbac.authorization.k8s.io/aggregate-to-{name}"
        mine = [each for each in parts if each["metadata"].get("labels", {}).get(mark) == "true"]
        role["rules"] = [rule for each in mine for rule in each["rules"] or ()]
        status, body = server.call("PUT", f"/apis/rbac.authorization.k8s.io/v1/clusterroles/{name}", role)
        assert status == 200, body


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("people")
    issuer = Issuer(folder / "pki")
    try:
        file = folder / "people.yaml"
        file.write_text(configuration(issuer.url, issuer.ca))
        server = ApiServer(folder, f"--authentication-config={file}")
        try:
            for item in objects(Settings(), SITE):
                if item["kind"] in ("Namespace", "RoleBinding"):
                    server.make(item)
            gather(server)
            made = Site(server, issuer, file)
            known = issuer.token(preferred_username="vera", roles=["viewer"])
            wait_for("the issuer's keys at the API server", lambda: made.who(known) or None, timeout=60)
            yield made
        finally:
            server.stop()
    finally:
        issuer.stop()


def test_a_person_has_the_name_and_the_roles_of_the_token(site: Site) -> None:
    found = site.who(site.issuer.token(preferred_username="sina", roles=["scientist", "viewer"]))
    assert found is not None
    assert found["username"] == "oidc:sina"
    assert {"oidc:scientist", "oidc:viewer", "system:authenticated"} == set(found["groups"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"aud": "mlflow"},
        {"exp": 1},
        {"iss": "https://localhost/realms/other"},
        {"preferred_username": None},
        {"preferred_username": ""},
    ],
)
def test_a_token_for_something_else_is_refused(site: Site, wrong: dict[str, Any]) -> None:
    claims = {"preferred_username": "sina", "roles": ["admin"]} | wrong
    assert site.who(site.issuer.token(**claims)) is None


@pytest.mark.parametrize(
    ("role", "verb", "resource", "platform", "work"),
    [
        ("viewer", "get", "pods", True, True),
        ("viewer", "create", "pods", False, False),
        ("viewer", "get", "secrets", False, False),
        ("scientist", "create", "pods", False, True),
        ("scientist", "get", "secrets", False, True),
        ("scientist", "delete", "apps/statefulsets", False, True),
        ("releaser", "create", "apps/deployments", False, True),
        ("releaser", "get", "secrets", False, True),
        ("admin", "get", "secrets", True, True),
        ("admin", "delete", "apps/statefulsets", True, True),
        ("admin", "create", "rbac.authorization.k8s.io/rolebindings", True, True),
        ("system:masters", "get", "pods", False, False),
        ("nobody", "get", "pods", False, False),
    ],
)
def test_a_role_opens_what_it_is_for(
    site: Site, role: str, verb: str, resource: str, platform: bool, work: bool
) -> None:
    token = site.issuer.token(preferred_username="person", roles=[role])
    given = [site.may(token, verb, resource, namespace) for namespace in (SITE.namespace, SITE.work)]
    assert given == [platform, work]


def test_nobody_is_the_clusters_admin(site: Site) -> None:
    token = site.issuer.token(preferred_username="admin", roles=["admin", "system:masters"])
    assert not site.may(token, "get", "secrets", "kube-system")
    assert not site.may(token, "get", "nodes", "")


def test_without_an_issuer_the_file_names_nobody() -> None:
    assert "jwt: []" in configuration("", Path("/nowhere"))
