"""What runs and what answers, for `make status`."""

from __future__ import annotations

from typing import Any

import pytest

from road import workloads

CONTRACT: dict[str, Any] = {
    "namespace": "platform",
    "components": [
        {
            "name": "postgres",
            "endpoints_in": [{"protocol": "postgres", "address": "postgres.platform.svc.cluster.local:5432"}],
            "endpoints_out": [
                {
                    "protocol": "patroni",
                    "address": "p-0.members.platform.svc.c.l:8008,p-1.members.platform.svc.c.l:8008",
                }
            ],
        },
        {
            "name": "gateway",
            "workloads": [{"role": "proxy", "namespace": "apadana-gateway"}],
            "endpoints_out": [{"protocol": "https", "address": "mlflow.lab.internal:443"}],
        },
        {"name": "outside", "endpoints_in": [{"protocol": "s3", "address": "s3.client.example:443"}]},
    ],
}


def item(kind: str, name: str, wished: int, ready: int) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "platform"}
    if kind == "DaemonSet":
        return {
            "kind": kind,
            "metadata": metadata,
            "spec": {},
            "status": {"desiredNumberScheduled": wished, "numberReady": ready},
        }
    status = {"readyReplicas": ready} if ready else {}
    return {"kind": kind, "metadata": metadata, "spec": {"replicas": wished}, "status": status}


def slice_of(service: str, *ready: bool) -> dict[str, Any]:
    metadata = {"name": f"{service}-x", "namespace": "platform", "labels": {workloads.SERVICE_OF_SLICE: service}}
    return {
        "kind": "EndpointSlice",
        "metadata": metadata,
        "endpoints": [{"conditions": {"ready": each}} for each in ready],
    }


def test_namespaces_and_services_of_a_contract() -> None:
    among = workloads.spaces(CONTRACT)
    assert among == {"platform", "apadana-gateway"}
    assert workloads.services(CONTRACT, among) == {("platform", "postgres"), ("platform", "members")}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (item("Deployment", "pooler", 2, 2), ""),
        (item("Deployment", "pooler", 0, 0), "somebody scaled it down"),
        (item("Deployment", "pooler", 2, 1), "1 of 2 ready"),
        (item("StatefulSet", "redis", 3, 0), "0 of 3 ready"),
        (item("DaemonSet", "kube-proxy", 4, 3), "3 of 4 ready"),
        (item("DaemonSet", "kube-proxy", 4, 4), ""),
    ],
)
def test_a_workload_that_lacks_pods_is_told(given: dict[str, Any], words: str) -> None:
    found = list(workloads.faults([given], set()))
    assert [about for about, _, _ in found] == (["workload"] if words else [])
    assert all(words in detail for _, _, detail in found)


@pytest.mark.parametrize(
    ("slices", "whole"),
    [
        ([slice_of("postgres", True, False)], True),
        ([slice_of("postgres", False)], False),
        ([slice_of("postgres")], False),
        ([slice_of("postgres", False), slice_of("postgres", True)], True),
        ([slice_of("other", True)], False),
        ([], False),
    ],
)
def test_a_service_needs_a_ready_pod(slices: list[dict[str, Any]], whole: bool) -> None:
    found = list(workloads.faults(slices, {("platform", "postgres")}))
    assert found == ([] if whole else [("endpoint", "postgres", "no ready pod answers for the Service in platform")])
