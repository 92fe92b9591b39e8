"""What the host's kernel and its services do now, against what the files beside them say: a file that is as wanted
proves nothing of the rules that are in force, nor of a registry that can't read its images.

Standard library only: it runs on bare hosts.
"""

from __future__ import annotations

import hashlib
import http.client
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils import containers, oci_layout
from ansible.module_utils.host import StateError, digest, run, until

#: kube-proxy's table, its way in, and where it finds a service's address (its pkg/proxy/nftables).
PROXY, PROXY_CHAIN, PROXY_MAP = ("ip", "kube-proxy"), "nat-output", "service-ips"
PROXY_SECONDS, REGISTRY_SECONDS = 90, 30
MANIFESTS = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"


Kinds = set[tuple[str, str]]


def differences(wanted: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """(kind, name, wanted, seen) of what one role wants to be in force."""
    texts = {file["path"]: file["content"] for file in wanted.get("files") or []}
    for rules in wanted.get("rulesets") or []:
        if seen := ruleset_difference(texts[rules["path"]], rules["table"]):
            yield ("ruleset", rules["table"], *seen)
    tree = wanted.get("registry_tree")
    if tree and "port" in tree and Path(tree["ca"]).exists():
        for lacking in registry_differences(tree):
            yield ("manifest", *lacking)


def mend(wanted: dict[str, Any], kinds: Kinds) -> None:
    """After the files, packages and units of the role."""
    for rules in wanted.get("rulesets") or []:
        if ("ruleset", rules["table"]) in kinds:
            run("systemctl", "reload-or-restart", rules["unit"])
    if any(kind == "manifest" for kind, _ in kinds):
        mend_registry(wanted["registry_tree"], made="tree" in {kind for kind, _ in kinds})


def closed(wanted: dict[str, Any]) -> str:
    """Why a member finds no services of the cluster; "" where it does, or is no member yet."""
    services = wanted.get("services")
    if not services or not Path(services["needs"]).exists():
        return ""
    return services_closed(services["address"], services["port"])


def ruleset(table: str) -> str:
    """A table of nftables as it is in force, without its counters; what nft says where there is none."""
    try:
        return str(run("nft", "--stateless", "list", "table", *table.split(), deadline=30))
    except StateError as error:
        return str(error)


def ruleset_of(text: str, table: str) -> str:
    """What a file would put in force, in nft's own words: loaded where nothing else is, a network of its own."""
    shell = 'nft -f /dev/stdin && exec nft --stateless list table "$@"'
    return str(run("unshare", "--net", "--", "sh", "-c", shell, "sh", *table.split(), deadline=30, stdin=text))


def ruleset_difference(text: str, table: str) -> tuple[str, str] | None:
    """(wanted, seen) in a few words; None where what is in force is what the file says."""
    seen = ruleset(table)
    try:
        wanted = ruleset_of(text, table)
    except StateError as error:
        return "in force", str(error)  # a bare host has no nft yet
    if seen == wanted:
        return None
    if not seen.startswith("table "):
        return f"{digest(wanted.encode())} in force", "not in force"
    lacks = [line.strip() for line in wanted.splitlines() if line not in seen.splitlines()]
    more = [line.strip() for line in seen.splitlines() if line not in wanted.splitlines()]
    words = [f"lacks {line!r}" for line in lacks[:2]] + [f"has {line!r}" for line in more[:2]]
    return f"{digest(wanted.encode())} in force", "; ".join(words) or "in another order"


def services_closed(address: str, port: int) -> str:
    """Why this host finds no service of the cluster, from kube-proxy's own rules; "" where it does."""
    element = f"{{ {address} . tcp . {port} }}"
    try:
        if "services" not in run("nft", "list", "chain", *PROXY, PROXY_CHAIN, deadline=30):
            return f"no rule leads from {PROXY_CHAIN} to services"
        run("nft", "get", "element", *PROXY, PROXY_MAP, element, deadline=30)
    except StateError as error:
        return str(error)
    return ""


def open_services(services: dict[str, Any]) -> bool:
    """Has kube-proxy write its rules anew: it writes what has changed, and all of it only when it starts.

    False where none runs here; its kubelet starts it as soon as the API answers.
    """
    running = containers.running("kube-proxy")
    for identity in running:
        containers.end(identity)
    if running and (why := until(lambda: services_closed(services["address"], services["port"]), PROXY_SECONDS)):
        raise StateError(f"kube-proxy was started anew and has not opened the services in {PROXY_SECONDS} s: {why}")
    return bool(running)


def registry_differences(tree: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(image, wanted, seen) for each manifest that the registry does not give as the bundle has it."""
    images = oci_layout.index_of(Path(tree["layout"]))
    context = ssl.create_default_context(cafile=tree["ca"])
    context.check_hostname = False  # it is asked by the host's own address; who it is, the site's CA says
    server = http.client.HTTPSConnection("127.0.0.1", tree["port"], timeout=10, context=context)
    try:
        for ref, descriptor in images.items():
            name, _, tag = ref.removeprefix(oci_layout.PREFIX).rpartition(":")
            seen = _manifest(server, f"/v2/{name}/manifests/{tag}")
            if seen != descriptor["digest"]:
                yield ref, descriptor["digest"], seen
    except (OSError, http.client.HTTPException) as error:
        yield "every image", "to be had", f"no answer: {error}"
    finally:
        server.close()


def mend_registry(tree: dict[str, Any], *, made: bool) -> None:
    """Its tree anew, unless that was made just now; until it gives every image again."""
    if not made:
        oci_layout.make_tree(Path(tree["layout"]), Path(tree["root"]))
    run("systemctl", "restart", tree["unit"])
    end = time.monotonic() + REGISTRY_SECONDS
    while left := list(registry_differences(tree)):
        if time.monotonic() > end:
            words = "; ".join(f"{ref}: {seen}" for ref, _, seen in left[:4])
            raise StateError(f"{tree['unit']} was restarted and after {REGISTRY_SECONDS} s still lacks: {words}")
        time.sleep(0.3)


def _manifest(server: http.client.HTTPSConnection, path: str) -> str:
    """The digest of what is given, or the answer in words."""
    server.request("GET", path, headers={"Accept": MANIFESTS})
    answer = server.getresponse()
    body = answer.read()
    if answer.status != http.client.OK:
        return f"{answer.status} {answer.reason}"
    return f"sha256:{hashlib.sha256(body).hexdigest()}"
