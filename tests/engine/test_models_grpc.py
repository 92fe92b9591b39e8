"""Releases that are asked by gRPC: Envoy, as its own controller made it, before the image's own model servers."""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from components.models import settings as models
from components.models.keeper import objects
from components.models.keeper.objects import GRPC, Manifest
from components.models.keeper.wish import Wish
from tests.engine import calling, falling, modelserving
from tests.engine.calling import Client, Said, question
from tests.engine.mirroring import counted
from tests.engine.modelserving import Server, Wanted
from tests.engine.test_model_grpc import BREAKS
from tests.engine.test_models_together import SAYS
from tests.ports import HOST
from tests.proxying import Signer
from tests.serving import question as rest_question
from tests.unit.test_models_settings import SETTINGS, site
from tests.unit.test_models_wish import BACKED, CANARY, DIGESTS, PLACE, SHADOW
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.engine

SHARE, CALLS = 30, 400
WISHES = {
    "iris": replace(CANARY, percent=SHARE),
    "shade": replace(SHADOW, name="shade", percent=100),
    "broken": replace(BACKED, name="broken"),
    "hangs": replace(BACKED, name="hangs"),
}
#: Each says the last digit of its version.
MODELS = {ref: SAYS.format(digest[-1], digest[-1]) for ref, digest in DIGESTS.items()}
FIRST, SECOND, LIGHT = (str(n) * 10 for n in (1, 2, 3))


def served(wish: Wish) -> Iterator[tuple[str, Wanted]]:
    """A version's Service, and its server."""
    for ref in wish.references():
        make = BREAKS if (wish.name, ref) == ("broken", wish.stable) else MODELS[ref]
        told = [f"--model_name={wish.name}", f"--model_version={objects.short(DIGESTS[ref])}"]
        yield objects.predictor(objects.version(wish, DIGESTS[ref])), Wanted({"": make}, told)


def made(signer: Signer, servers: Mapping[str, Server]) -> list[Manifest]:
    """All releases and policies. The issuer's keys are told and not asked for, and who is alive says the first pod."""
    found = [each for each in models.way(SETTINGS, site()) if each["kind"] in falling.POLICIES]
    for policy in found:
        for provider in policy["spec"].get("jwt", {}).get("providers", ()):
            del provider["remoteJWKS"]
            provider["localJWKS"] = {"type": "Inline", "inline": signer.keys()}
        if "overrides" in (check := policy["spec"].get("healthCheck", {}).get("active", {})):
            check["overrides"]["port"] = servers["iris-1111111111-predictor"].port
    for wish in WISHES.values():
        found.append(objects.route(PLACE, wish, DIGESTS))
        if wish.fall_back:
            digest = DIGESTS[wish.fall_back]
            server = servers[objects.predictor(objects.version(wish, digest))]
            for back, port in zip(
                objects.fall_backs(PLACE, wish, digest, HOST), (server.port, server.calls), strict=True
            ):
                back["spec"]["endpoints"][0]["ip"]["port"] = port
                found.append(back)
    return found


@dataclass
class World:
    """The gateway, its pods by their Services, and who calls."""

    folder: Path
    servers: Mapping[str, Server]
    port: int
    client: Client
    signer: Signer

    def ask(self, name: str, count: int = 1, role: str = "scientist", release: str = "") -> list[Said]:
        """Questions to a model, over one connection. `release`: which one is named beside them, if it is another."""
        token = self.signer.token(role, audience=models.ROOM)
        head = {"authorization": f"Bearer {token}", GRPC.named: release or name}
        return self.client.all(self.port, "ModelInfer", [question(name, [[0.0]])] * count, head)

    def admin(self, path: str) -> str:
        host, port = (self.folder / "admin").read_text().split(":")
        line = http.client.HTTPConnection(host, int(port), timeout=10)
        line.request("GET", path)
        return line.getresponse().read().decode()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    signer, folder = Signer.new(), tmp_path_factory.mktemp("gateway")
    wanted = dict(each for wish in WISHES.values() for each in served(wish))
    with ExitStack() as stack:
        servers = stack.enter_context(modelserving.started(tmp_path_factory.mktemp("servers"), wanted))
        rest = {name: [server.port] for name, server in servers.items()}
        calls = {name: [server.calls] for name, server in servers.items()}
        port = stack.enter_context(falling.gateway(folder, made(signer, servers), rest, calls))
        client = stack.enter_context(calling.client(tmp_path_factory.mktemp("client")))
        yield World(folder, servers, port, client, signer)


def versions(found: list[Said]) -> Counter[str]:
    assert Counter(each.code for each in found) == {"OK": len(found)}, found[:3]
    return Counter(each.told["model_version"] for each in found)


def test_a_canarys_share_holds_over_one_connection_and_is_that_of_rest(world: World) -> None:
    said = versions(world.ask("iris", CALLS))
    assert said.keys() == {FIRST, SECOND}
    # Five standard deviations.
    assert abs(said[SECOND] / CALLS - SHARE / 100) < 0.12
    line = http.client.HTTPConnection(HOST, world.port, timeout=30)
    token = world.signer.token("scientist", audience=models.ROOM)
    head = {"Host": PLACE.host, "Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    told: Counter[str] = Counter()
    for _ in range(CALLS):
        line.request("POST", "/v2/models/iris/infer", rest_question([[0.0]]), head)
        told[json.loads(line.getresponse().read())["model_version"]] += 1
    assert abs(told[SECOND] / CALLS - SHARE / 100) < 0.12


def test_without_a_token_or_a_role_nobody_is_answered(world: World) -> None:
    asked, named = question("iris", [[0.0]]), {GRPC.named: "iris"}
    (none,) = world.client.all(world.port, "ModelInfer", [asked], named)
    (wrong,) = world.client.all(world.port, "ModelInfer", [asked], named | {"authorization": "Bearer x"})
    other = world.signer.token("scientist", audience="outcomes")
    (foreign,) = world.client.all(world.port, "ModelInfer", [asked], named | {"authorization": f"Bearer {other}"})
    assert {none.code, wrong.code} == {"UNAUTHENTICATED"}
    assert foreign.code == "PERMISSION_DENIED"
    assert [each.code for each in world.ask("iris", role="viewer")] == ["PERMISSION_DENIED"]
    assert versions(world.ask("iris")).total() == 1


def test_a_release_is_found_by_its_name_beside_the_call_and_asked_for_none_else(world: World) -> None:
    (none,) = world.ask("iris", release="nobody")
    assert none.code == "UNIMPLEMENTED"  # what gRPC makes of 404
    (other,) = world.ask("iris", release="shade")
    assert (other.code, other.why) == ("NOT_FOUND", "Model with name iris does not exist.")


def test_what_is_too_large_goes_no_further_than_the_gateway(world: World) -> None:
    server = world.servers["iris-1111111111-predictor"]
    before = counted(server.port).answers
    rows = [[0.0]] * (models.Settings().largest_mib << 17)  # of eight bytes each, and some beside
    token = world.signer.token("scientist", audience=models.ROOM)
    head = {"authorization": f"Bearer {token}", GRPC.named: "iris"}
    (said,) = world.client.all(world.port, "ModelInfer", [question("iris", rows)], head)
    assert said.code != "OK", said.code
    assert counted(server.port).answers == before


def test_a_shadow_gets_every_call_once_more_and_is_compared_by_it(world: World) -> None:
    stable, shadow = (world.servers[f"shade-{version}-predictor"] for version in (FIRST, SECOND))
    before = [counted(each.port).answers for each in (stable, shadow)]
    assert versions(world.ask("shade", 50)) == {FIRST: 50}

    def arrived() -> bool | None:
        now = [counted(each.port).answers for each in (stable, shadow)]
        return [n - then for n, then in zip(now, before, strict=True)] == [50, 50] or None

    wait_for("every copy", arrived, timeout=30, every=0.1)
    one, other = stable.kept(), shadow.kept()
    assert len(one) >= 50 and one.keys() == other.keys()  # by the id that Envoy gave the call and its copy
    assert not any(one[mark] == other[mark] for mark in one)  # they say 1 and 2


def test_the_light_model_answers_what_fails_by_grpc_too(world: World) -> None:
    """Each call of the broken model ends with INTERNAL, in an answer whose status of HTTP is 200."""
    assert versions(world.ask("broken", 40)) == {LIGHT: 40}


def test_the_light_model_answers_what_is_not_answered_in_time(world: World) -> None:
    heavy = world.servers[f"hangs-{FIRST}-predictor"]
    assert versions(world.ask("hangs", 5)) == {FIRST: 5}
    child = int((heavy.place / f"{heavy.name}.pid").read_text())
    os.kill(child, signal.SIGSTOP)
    try:
        assert versions(world.ask("hangs", 5)) == {LIGHT: 5}
    finally:
        os.kill(child, signal.SIGCONT)


def test_a_pod_that_is_asked_by_grpc_is_looked_after_at_its_port_of_rest(world: World) -> None:
    def told() -> dict[str, Any]:
        calls = {str(each.calls) for name, each in world.servers.items() if name.startswith(("iris", "shade"))}
        found = {}
        for cluster in json.loads(world.admin("/clusters?format=json"))["cluster_statuses"]:
            for host in cluster.get("host_statuses", ()):
                port = str(host["address"]["socket_address"]["port_value"])
                if port in calls:
                    found[port] = host["health_status"]
        return found

    health = told()
    assert len(health) == 4
    assert all(not each.get("failed_active_health_check") for each in health.values()), health
    stats = world.admin("/stats?filter=health_check.(success|failure)")
    numbers = {name: int(value) for name, _, value in (line.partition(": ") for line in stats.splitlines())}
    assert sum(value for name, value in numbers.items() if name.endswith("success")) > 0
    assert sum(value for name, value in numbers.items() if name.endswith("failure")) == 0, stats
