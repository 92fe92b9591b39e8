"""Each host's load balancer leads to the API, the registry and, where there is one, the gateway."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.kit import contract
from validate.ground.nodes import Context, Node
from validate.suites.checks import doors

NODES = [Node("h1", "10.0.0.1", True, True), Node("h2", "10.0.0.2", True, False)]


def context(*components: dict[str, Any]) -> Context:
    platform = contract.Platform.model_validate(
        {
            "site": "lab",
            "deployer": "pulumi",
            "namespace": "platform",
            "bundle_digest": f"sha256:{'0' * 64}",
            "components": components,
        }
    )
    site: Any = SimpleNamespace(name="lab", platform=platform, site_ca=Path("ca.crt"))
    nothing: Any = None
    return Context(site, nothing, "run", NODES)


def gateway(mode: str) -> dict[str, Any]:
    required = {"web_domain": "lab.internal"}
    return {"name": "gateway", "version": "1", "mode": mode, "client": {"required": required}}


@pytest.mark.parametrize(("components", "pages"), [([], 0), ([gateway("managed")], 2), ([gateway("external")], 0)])
def test_pages_are_asked_for_through_every_host(components: list[dict[str, Any]], pages: int) -> None:
    found = doors.doors(context(*components))
    asked = [door for door in found if door.port == doors.PAGES_PORT]
    assert len(asked) == pages
    assert all(door.server_name == "no-such-page.lab.internal" for door in asked)
    assert len(found) - pages == 2 * len(NODES)
