"""Reading the audit log: what counts as denied, and what as a write to the whole cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api_audit import judge

USER = "system:serviceaccount:apadana-system:apadana-installer"


def event(verb: str, code: int = 200, user: str = USER, **target: str) -> str:
    record: dict[str, Any] = {
        "stage": "ResponseComplete",
        "verb": verb,
        "requestURI": f"/{target.get('resource')}",
        "user": {"username": user},
        "responseStatus": {"code": code},
        "objectRef": target,
    }
    return json.dumps(record)


def test_work_in_its_own_namespace_is_counted_and_fine() -> None:
    lines = [
        event("patch", resource="statefulsets", apiGroup="apps", namespace="platform"),
        event("get", resource="pods", namespace="platform"),
        event("get", resource="storageclasses", apiGroup="storage.k8s.io"),
    ]
    found = judge(lines, ":apadana-installer")
    assert (found.requests, found.writes) == (3, 1)
    assert not found.denied and not found.cluster_scoped


@pytest.mark.parametrize("code", [401, 403])
def test_a_refusal_is_denied(code: int) -> None:
    found = judge([event("create", code, resource="nodes")], ":apadana-installer")
    assert len(found.denied) == 1 and f"-> {code}" in found.denied[0]


@pytest.mark.parametrize(
    "target",
    [
        {"resource": "clusterroles", "apiGroup": "rbac.authorization.k8s.io"},
        {"resource": "namespaces", "namespace": "platform"},
    ],
)
def test_a_write_to_the_whole_cluster_is_told(target: dict[str, str]) -> None:
    assert judge([event("create", 201, **target)], ":apadana-installer").cluster_scoped


def test_a_question_about_rights_is_no_write() -> None:
    line = event("create", 201, resource="selfsubjectaccessreviews", apiGroup="authorization.k8s.io")
    found = judge([line], ":apadana-installer")
    assert (found.writes, found.cluster_scoped) == (0, [])


def test_other_users_and_torn_lines_are_let_pass() -> None:
    lines = [event("create", 403, user="kubernetes-admin", resource="nodes"), '{"user": {"usern']
    assert judge(lines, ":apadana-installer").requests == 0
