"""What runs and what answers, as the cluster has it now: for `make status`. Pure, but for `look`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from road import kubectl
from road.place import Place

KINDS = "deployments,statefulsets,daemonsets,endpointslices"
SYSTEM = "kube-system"
SERVICE_OF_SLICE = "kubernetes.io/service-name"
#: (about, name, detail) of one thing that is not whole
Fault = tuple[str, str, str]


def spaces(contract: Mapping[str, Any]) -> set[str]:
    """Every namespace that the contract names. Not the users' own: what runs there may be at zero."""
    named = {
        workload.get("namespace") for component in contract["components"] for workload in component.get("workloads", [])
    }
    return {contract["namespace"], *filter(None, named)}


def services(contract: Mapping[str, Any], among: set[str]) -> set[tuple[str, str]]:
    """(namespace, Service) of every address of the contract in these namespaces."""
    found = set()
    for component in contract["components"]:
        for entry in (*component.get("endpoints_in", []), *component.get("endpoints_out", [])):
            for address in entry["address"].split(","):
                names = address.rpartition(":")[0].split(".svc.")[0].split(".")
                if ".svc." in address and names[-1] in among:
                    found.add((names[-1], names[-2]))
    return found


def faults(items: Iterable[Mapping[str, Any]], wanted: set[tuple[str, str]]) -> Iterator[Fault]:
    """Workloads that lack pods or are at zero, and Services that nobody answers for."""
    answering: set[tuple[str, str]] = set()
    for item in items:
        metadata = item["metadata"]
        if item["kind"] == "EndpointSlice":
            ready = [each for each in item.get("endpoints") or [] if each.get("conditions", {}).get("ready", True)]
            if ready:
                answering.add((metadata["namespace"], metadata.get("labels", {}).get(SERVICE_OF_SLICE, "")))
            continue
        told = _lacks(item)
        if told:
            yield "workload", metadata["name"], f"{item['kind']} in {metadata['namespace']}: {told}"
    for namespace, service in sorted(wanted - answering):
        yield "endpoint", service, f"no ready pod answers for the Service in {namespace}"


def _lacks(item: Mapping[str, Any]) -> str:
    status = item.get("status", {})
    if item["kind"] == "DaemonSet":
        wished, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    else:
        wished, ready = item["spec"].get("replicas", 1), status.get("readyReplicas", 0)
    if not wished:
        return "0 replicas are wished for: somebody scaled it down; `make up` gives them back"
    return "" if ready >= wished else f"{ready} of {wished} ready"


def look(place: Place) -> tuple[int, list[Fault]]:
    """How much was looked at, and what of it is not whole."""
    contract = json.loads(place.platform.read_text())
    among = spaces(contract) | {SYSTEM}
    items = [each for space in sorted(among) for each in kubectl.read(place, "get", KINDS, "-n", space)["items"]]
    wanted = services(contract, among)
    counted = sum(item["kind"] != "EndpointSlice" for item in items) + len(wanted)
    return counted, list(faults(items, wanted))
