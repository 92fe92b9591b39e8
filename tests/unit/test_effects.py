"""What is in force on a host, and not what its files say: real nftables in a network of its own, a real registry's
answers over TLS."""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from components.kit import pki
from tests.unit import test_observed_state

REPOSITORY = Path(__file__).parents[2]
effects = test_observed_state.effects
RULES = """\
table inet apadana
delete table inet apadana
table inet apadana {
  set nodes {
    type ipv4_addr
    elements = { 10.0.0.9, 10.0.0.2, 10.0.0.31, 10.0.0.4, 10.0.0.250, 10.0.0.6, 10.0.0.77, 10.0.0.8 }
  }
  set admins {
    type ipv4_addr
    flags interval
    elements = { 10.9.0.0/24, 10.1.0.1/32 }
  }
  chain input {
    type filter hook input priority filter; policy drop;
    iif lo accept
    ip saddr @nodes tcp dport { 22, 6443, 443 } accept
    ip saddr @admins tcp dport { 22 } accept
    counter drop
  }
}
"""
PROXY = """\
table ip kube-proxy {
  chain one {
    accept
  }
  chain services {
    ip daddr . meta l4proto . th dport vmap @service-ips
  }
  chain nat-output {
    type nat hook output priority -100
    jump services
  }
  map service-ips {
    type ipv4_addr . inet_proto . inet_service : verdict
    elements = { 10.96.0.1 . tcp . 443 : goto one }
  }
}
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has a network of its own")


def alone(*steps: str) -> list[Any]:
    """Runs nft commands in a network of its own, and tells after each what is seen there."""
    script = (
        "import json, subprocess, sys\n"
        "from tests.unit.test_effects import RULES, effects\n"
        "for step in sys.argv[1:]:\n"
        "    subprocess.run(['nft', '-f', '-'], input=step, text=True, check=True)\n"
        "    print(json.dumps([effects.ruleset_difference(RULES, 'inet apadana'),\n"
        "                      effects.services_closed('10.96.0.1', 443)]))\n"
    )
    command = ["unshare", "--net", "--", sys.executable, "-c", script, *steps]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=REPOSITORY)
    return [json.loads(line) for line in done.stdout.splitlines()]


@needs_root
def test_rules_that_are_not_in_force_are_seen() -> None:
    harms = {
        "flush ruleset": "not in force",
        "delete table inet apadana": "not in force",
        "flush table inet apadana": "lacks",
        "flush set inet apadana nodes": "lacks 'elements",
        "insert rule inet apadana input accept": "has 'accept'",
        "add element inet apadana admins { 128.0.0.0/1 }": "has '",
        "delete chain inet apadana input": "lacks",
    }
    told = alone(*(step for harm in harms for step in (RULES, harm)))
    assert [seen for seen, _ in told[::2]] == [None] * len(harms), "loaded again, whatever its counters are"
    for (harm, words), (seen, _) in zip(harms.items(), told[1::2], strict=True):
        assert words in seen[1], harm


@needs_root
def test_a_host_that_lost_the_clusters_services_is_seen() -> None:
    harms = {
        "flush table ip kube-proxy": "no rule leads",
        "flush map ip kube-proxy service-ips": "No such file",
        "flush ruleset": "No such file",
    }
    told = alone(*(step for harm in harms for step in (f"flush ruleset\n{PROXY}", harm)))
    assert [closed for _, closed in told[::2]] == [""] * len(harms)
    for (harm, words), (_, closed) in zip(harms.items(), told[1::2], strict=True):
        assert words in closed, harm


def test_a_host_that_is_no_member_needs_no_services(tmp_path: Path) -> None:
    wanted = {"services": {"address": "10.96.0.1", "port": 443, "needs": str(tmp_path / "member")}}
    assert effects.closed(wanted) == ""


# ---- the registry


class Registry:
    """Answers as the registry does; one image's manifest may be lost to it, as with a tree that it can't read."""

    def __init__(self, folder: Path) -> None:
        self.manifests: dict[str, bytes] = {}
        pki.ensure_ca(folder / "pki", "lab")
        pki.ensure_leaf(folder / "pki", "registry", ["registry.lab"])
        registry = self

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = registry.manifests.get(self.path)
                code = 200 if body is not None or self.path == "/v2/" else 500
                self.send_response(code)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "pki" / "registry.crt", folder / "pki" / "registry.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    found = Registry(tmp_path)
    yield found
    found.server.shutdown()
    found.server.server_close()


@pytest.fixture
def tree(tmp_path: Path, registry: Registry) -> dict[str, Any]:
    items = []
    for name in ("pause", "etcd"):
        body = json.dumps({"name": name}).encode()
        registry.manifests[f"/v2/{name}/manifests/1"] = body
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        annotations = {"org.opencontainers.image.ref.name": f"apadana.local/{name}:1"}
        items.append({"digest": digest, "annotations": annotations})
    (tmp_path / "index.json").write_text(json.dumps({"manifests": items}))
    ca = str(tmp_path / "pki" / "ca.crt")
    return {"layout": str(tmp_path), "root": "", "ca": ca, "port": registry.server.server_address[1]}


def test_every_image_is_asked_for_and_not_whether_somebody_answers(registry: Registry, tree: dict[str, Any]) -> None:
    assert list(effects.registry_differences(tree)) == []
    del registry.manifests["/v2/etcd/manifests/1"]
    (lost,) = effects.registry_differences(tree)
    assert (lost[0], lost[2]) == ("apadana.local/etcd:1", "500 Internal Server Error")
    registry.manifests["/v2/etcd/manifests/1"] = b"another"
    assert [seen.split(":")[0] for _, _, seen in effects.registry_differences(tree)] == ["sha256"]


def test_a_registry_that_is_another_or_away_is_told(
    registry: Registry, tree: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = tmp_path_factory.mktemp("stranger")
    pki.ensure_ca(stranger, "stranger")
    (told,) = effects.registry_differences({**tree, "ca": str(stranger / "ca.crt")})
    assert "certificate verify failed" in told[2]
    (told,) = effects.registry_differences({**tree, "port": 1})
    assert "refused" in told[2]


def test_a_role_tells_what_is_not_in_force(tree: dict[str, Any], registry: Registry) -> None:
    registry.manifests.clear()
    found = list(effects.differences({"registry_tree": tree}))
    assert {(kind, name) for kind, name, _, _ in found} == {
        ("manifest", "apadana.local/etcd:1"),
        ("manifest", "apadana.local/pause:1"),
    }
