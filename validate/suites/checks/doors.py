"""API, registry and pages through each host's load balancer, from the controlling machine."""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from components.kit import contract
from components.kit.probing import Check, Verdict
from validate.core.errors import ClusterError
from validate.ground.kubectl import API_PORT, Cluster
from validate.ground.nodes import Context

REGISTRY_PORT, PAGES_PORT = 5443, 443
GATEWAY = "gateway"


@dataclass(frozen=True)
class Door:
    name: str
    address: str
    port: int
    server_name: str
    path: str
    accepted: tuple[int, ...]


def doors(context: Context) -> list[Door]:
    site = context.site.name
    found = []
    for node in context.nodes:
        found.append(Door(f"API through {node.name}", node.address, API_PORT, f"api.{site}", "/readyz", (200,)))
        # A registry that asks for a login has answered, too.
        found.append(
            Door(f"registry through {node.name}", node.address, REGISTRY_PORT, f"registry.{site}", "/v2/", (200, 401))
        )
    for name in _no_page(context.site.platform):
        for node in context.nodes:
            what = f"pages through {node.name}"
            found.append(Door(what, node.address, PAGES_PORT, name, "/", (404,)))
    return found


def _no_page(platform: contract.Platform) -> Iterator[str]:
    """A name under which the gateway has nothing to show: its own answer, and a proxy's, is 404."""
    for component in platform.components:
        if component.name == GATEWAY and component.mode == "managed":
            yield f"no-such-page.{component.client.required['web_domain']}"


def through_each_host(context: Context) -> Iterator[Check]:
    try:
        api = ssl.create_default_context(cadata=cluster_ca(context.cluster))
        registry = ssl.create_default_context(cafile=str(context.site.site_ca))
    except OSError as error:
        detail = f"the site CA {context.site.site_ca} can't be read: {error}"
        yield Check("doors", Verdict.INVALID, detail)
        return
    wanted = doors(context)
    with ThreadPoolExecutor(max_workers=8) as pool:
        yield from pool.map(lambda d: knock(d, api if d.port == API_PORT else registry), wanted)


def cluster_ca(cluster: Cluster) -> str:
    view = cluster.json("config", "view", "--raw", "--minify")
    data = view["clusters"][0]["cluster"].get("certificate-authority-data")
    if not data:
        raise ClusterError(
            f"reading the CA from {cluster.kubeconfig}",
            "it has no certificate-authority-data; fetch the kubeconfig anew (playbooks/site.yml)",
        )
    return base64.b64decode(data).decode()


def knock(door: Door, context: ssl.SSLContext, timeout: float = 4.0) -> Check:
    """One HTTPS request to this very host, with the certificate checked for the door's name."""
    begin = time.monotonic()
    where = f"https://{door.address}:{door.port}{door.path} as {door.server_name}"
    try:
        status, body = ask(door, context, timeout)
    except (OSError, http.client.HTTPException) as error:
        detail = f"{where}: {type(error).__name__}: {error}"
        return Check(door.name, Verdict.FAIL, detail, {}, time.monotonic() - begin)
    verdict = Verdict.PASS if status in door.accepted else Verdict.FAIL
    took = time.monotonic() - begin
    return Check(door.name, verdict, f"{where}: {status}", {"body": body[:200]}, took)


def ask(door: Door, context: ssl.SSLContext, timeout: float) -> tuple[int, str]:
    with (
        socket.create_connection((door.address, door.port), timeout) as plain,
        context.wrap_socket(plain, server_hostname=door.server_name) as secure,
    ):
        head = f"GET {door.path} HTTP/1.1\r\nHost: {door.server_name}\r\n"
        secure.sendall(f"{head}Connection: close\r\n\r\n".encode())
        answer = http.client.HTTPResponse(secure)
        answer.begin()
        return answer.status, answer.read(2000).decode(errors="replace")
