"""Who may do what at MLflow's page: each role at each kind of route, as the gateway is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from components.identity import settings as identity
from components.kit import webs
from components.kit.settings import ComponentSettings, SiteFacts
from components.kit.web import EVERYONE, Role
from components.mlflow import settings as mlflow

PAGE = mlflow.Settings.web
assert PAGE is not None
ROOMS: dict[str, ComponentSettings] = {
    "gateway": ComponentSettings(),
    "identity": identity.Settings(),
    "mlflow": mlflow.Settings(),
}
SITE = SiteFacts("lab", web_domain="lab.internal", rooms=ROOMS)
FULL = frozenset({Role.SCIENTIST, Role.RELEASER, Role.ADMIN})
WRITES = (
    ("POST", "/ajax-api/2.0/mlflow/experiments/create"),
    ("POST", "/ajax-api/2.0/mlflow/experiments/delete"),
    ("POST", "/ajax-api/2.0/mlflow/runs/create"),
    ("POST", "/ajax-api/2.0/mlflow/runs/delete"),
    ("POST", "/ajax-api/2.0/mlflow/runs/log-batch"),
    ("POST", "/ajax-api/2.0/mlflow/runs/set-tag"),
    ("POST", "/ajax-api/2.0/mlflow/upload-artifact"),
    ("POST", "/ajax-api/2.0/mlflow/gateway-proxy"),
    ("POST", "/ajax-api/2.0/mlflow/logged-models"),
    ("POST", "/ajax-api/2.0/mlflow/logged-models/m-1/params"),
    ("POST", "/ajax-api/2.0/mlflow/model-versions/transition-stage"),
    ("POST", "/ajax-api/2.0/mlflow/registered-models/alias"),
    ("POST", "/ajax-api/2.0/mlflow/registered-models/create"),
    ("POST", "/ajax-api/3.0/mlflow/traces"),
    ("POST", "/ajax-api/3.0/mlflow/traces/delete-traces"),
    ("POST", "/ajax-api/3.0/mlflow/datasets/create"),
    ("POST", "/ajax-api/3.0/mlflow/datasets/search/records"),
    ("POST", "/ajax-api/3.0/mlflow/jobs/search"),
    ("POST", "/ajax-api/2.0/mlflow/runs/search/"),
    ("POST", "/ajax-api/2.0/mlflow/runs/searching"),
    ("POST", "/graphql/x"),
    ("POST", "/"),
    ("PUT", "/ajax-api/2.0/mlflow/runs/search"),
    ("PATCH", "/ajax-api/2.0/mlflow/runs/search"),
    ("DELETE", "/ajax-api/2.0/mlflow/runs/search"),
    ("DELETE", "/ajax-api/2.0/mlflow/registered-models/delete"),
    ("PUT", "/api/2.0/mlflow-artifacts/artifacts/1/model"),
)
READS = (
    *(("POST", path) for path in mlflow.ASKS),
    ("POST", "/ajax-api/2.0/mlflow/runs/search?max_results=5"),
    ("GET", "/"),
    ("GET", "/ajax-api/2.0/mlflow/registered-models/search"),
    ("GET", "/ajax-api/2.0/mlflow/model-versions/search"),
    ("GET", "/ajax-api/2.0/mlflow/metrics/get-history"),
    ("HEAD", "/"),
)


def rights() -> Mapping[str, Any]:
    """What the gateway is told of MLflow's page."""
    issuer = webs.login(SITE)
    assert PAGE is not None and issuer is not None
    found: dict[str, Any] = webs.security("mlflow", PAGE, SITE, issuer)["spec"]["authorization"]
    return found


def may(role: str, method: str, asked: str) -> bool:
    """As Envoy Gateway reads its rules: the first one that fits decides."""
    told = rights()
    for rule in told["rules"]:
        (claim,) = rule["principal"]["jwt"]["claims"]
        operation = rule.get("operation", {})
        path = operation.get("path", {"type": "Exact", "value": asked})
        assert path["type"] == "Exact"
        fits = path["value"] in (asked, asked.partition("?")[0])
        if role in claim["values"] and method in operation.get("methods", [method]) and fits:
            return bool(rule["action"] == "Allow")
    return bool(told["defaultAction"] == "Allow")


@pytest.mark.parametrize(("method", "path"), READS)
def test_everybody_with_a_role_may_look(method: str, path: str) -> None:
    assert {role for role in EVERYONE if may(role, method, path)} == set(EVERYONE)


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_who_may_only_look_changes_nothing(method: str, path: str) -> None:
    assert {role for role in EVERYONE if may(role, method, path)} == FULL


@pytest.mark.parametrize(("method", "path"), [*READS, *WRITES])
def test_who_has_no_role_gets_nothing(method: str, path: str) -> None:
    assert not may("stranger", method, path)


def test_rules_have_names_of_their_own() -> None:
    names = [rule["name"] for rule in rights()["rules"]]
    assert len(names) == len(set(names)) == 2 + len(mlflow.ASKS)


@pytest.mark.parametrize("path", ["runs/search", "/", "/runs/.*", "/runs/search?x", "/a//b", "/a b"])
def test_what_is_no_plain_path_is_refused(path: str) -> None:
    assert PAGE is not None
    with pytest.raises(ValidationError):
        type(PAGE).model_validate({"name": "x", "port": 1, "asks_by_post": [path]})
