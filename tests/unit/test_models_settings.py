"""Settings of the room `models`, what it asks of others, and what all ways to models have in common."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from components.cluster import settings as cluster
from components.gateway import controller as gateway_controller
from components.gateway import settings as gateway
from components.identity import settings as identity
from components.identity.clients import clients
from components.kit.contract import Component
from components.kit.manifests import in_namespace
from components.kit.settings import SiteFacts
from components.kserve import settings as kserve
from components.minio import settings as minio
from components.mlflow import settings as mlflow
from components.models import settings as models
from components.models.keeper import kubernetes, objects
from components.models.keeper.copies import Rules
from components.postgres import settings as postgres
from tests.images import AnyImage
from validate.ground.site import REPOSITORY
from validate.suites import coverage

SETTINGS = models.Settings()
ROOMS: dict[str, Any] = {
    "cluster": cluster.Settings(),
    "gateway": gateway.Settings(),
    "identity": identity.Settings(),
    "kserve": kserve.Settings(),
    "minio": minio.Settings(),
    "mlflow": mlflow.Settings(),
    "models": SETTINGS,
    "postgres": postgres.Settings(),
}


def site(**rooms: Any) -> SiteFacts:
    found = {name: room for name, room in {**ROOMS, **rooms}.items() if room is not None}
    return SiteFacts("lab", images=AnyImage(), web_domain="lab.internal", rooms=found)


def way(kind: str, name: str = "") -> dict[str, Any]:
    named = [item for item in models.way(SETTINGS, site()) if name in ("", item["metadata"]["name"])]
    (found,) = [item for item in named if item["kind"] == kind]
    return dict(found)


def test_nothing_is_wrong_where_all_it_stands_on_is_there() -> None:
    here = site()
    assert not [m for room in here.rooms.values() for m in room.misfits(here) if m.key.startswith(("models", "minio"))]


@pytest.mark.parametrize("lost", ["kserve", "mlflow", "gateway", "identity"])
def test_what_it_stands_on_is_told(lost: str) -> None:
    (mistake,) = SETTINGS.misfits(site(**{lost: None}))
    assert lost in mistake.allowed
    assert "off_because" in mistake.action


def test_a_copy_outlives_a_batch_that_reads_it() -> None:
    long = kserve.Settings(batch_longest_hours=100)
    (mistake,) = models.Settings(copies_days=4).misfits(site(kserve=long))
    assert (mistake.key, mistake.seen) == ("models.copies_days", "4")
    assert "at least 5, or null: a batch reads its version for up to 100 h" in mistake.allowed
    for days in (5, None):
        assert not list(models.Settings(copies_days=days).misfits(site(kserve=long)))


def test_the_keeper_is_told_when_copies_go() -> None:
    told = models.keeper(models.Settings(copies_days=None, copies_back=5, obsolete_days=90), site())
    assert Rules(**told["copies"]) == Rules(days=None, back=5, obsolete_days=90)


def test_a_token_of_the_right_audience_and_role_and_no_way_around() -> None:
    spec = way("SecurityPolicy")["spec"]
    assert spec["jwt"]["providers"][0]["audiences"] == ["models"]
    assert spec["authorization"]["defaultAction"] == "Deny"
    (rule,) = spec["authorization"]["rules"]
    assert rule["principal"]["jwt"]["claims"][0]["values"] == ["scientist", "releaser", "admin"]
    assert "oidc" not in spec
    # Every route of a release, whatever else its labels say.
    (chosen,) = spec["targetSelectors"]
    assert chosen["matchLabels"] == objects.ROUTE_PART
    assert "matchExpressions" not in chosen


def test_a_route_has_one_policy_of_what_is_tried_again_and_none_that_was_made_before_lacks_it() -> None:
    found = {}
    for name in ("models-answers", "models-fall-back", "models-asleep"):
        spec = way("BackendTrafficPolicy", name)["spec"]
        (chosen,) = spec["targetSelectors"]
        assert chosen["matchLabels"] == objects.ROUTE_PART
        assert spec["requestBuffer"] == {"limit": "4Mi"}  # or a longer question could not be asked a second time
        assert all(asked["values"] == [objects.YES] for asked in chosen["matchExpressions"])
        found[name] = {asked["key"]: asked["operator"] for asked in chosen["matchExpressions"]}
    # By gRPC no path of REST is there to be asked.
    (check,) = [way("BackendTrafficPolicy", "models-answers")["spec"]["healthCheck"]["active"]]
    assert (check["http"]["path"], check["overrides"]) == ("/v2/health/ready", {"port": kserve.PREDICTOR_PORT})
    assert "overrides" not in way("BackendTrafficPolicy", "models-asleep")["spec"]["healthCheck"]["active"]
    # NotIn is true of a route without the label. No route says yes to both (test_models_sleeping.py).
    assert found == {
        "models-answers": {objects.FALLS_BACK: "NotIn", objects.ASLEEP: "NotIn"},
        "models-fall-back": {objects.FALLS_BACK: "In"},
        "models-asleep": {objects.ASLEEP: "In"},
    }


@pytest.mark.parametrize(("milliseconds", "connect"), [(100, "100ms"), (300, "250ms"), (3000, "250ms")])
def test_a_fall_back_is_asked_when_a_try_fails_or_takes_too_long(milliseconds: int, connect: str) -> None:
    spec = models.falling_back(models.Settings(try_ms=milliseconds))
    again = spec["retry"]
    # The next try goes to the next priority, and the third one is over within a second where a try has 300 ms.
    assert (again["numAttemptsPerPriority"], again["numRetries"]) == (1, 2)
    assert again["retryOn"] == {"triggers": ["5xx", "internal", "unavailable"]}  # the last two: by gRPC
    assert again["perRetry"]["timeout"] == f"{milliseconds}ms"
    assert spec["timeout"]["tcp"]["connectTimeout"] == connect
    # A check that finds a pod alive would give it back what it answers wrongly.
    assert "active" not in spec["healthCheck"]
    assert spec["healthCheck"]["passive"]["maxEjectionPercent"] == 100


def test_routes_lead_from_the_platform_to_predictors_and_the_gateway_reads_them() -> None:
    grant = way("ReferenceGrant")
    assert grant["metadata"]["namespace"] == "platform-work"
    assert grant["spec"]["from"][0]["namespace"] == "platform"
    watched = gateway_controller.watched(gateway.Settings(), site())
    assert "platform-work" in watched
    assert "platform-work" not in gateway_controller.watched(gateway.Settings(), site(models=None))


def test_predictors_let_the_gateway_in_where_there_is_one() -> None:
    callers = json.dumps(kserve.values(ROOMS["kserve"], site())["callers"])
    assert "apadana-gateway" in callers
    assert "apadana-gateway" not in json.dumps(
        kserve.values(ROOMS["kserve"], site(gateway=None, models=None))["callers"]
    )


def test_its_accounts_are_for_models_alone() -> None:
    known = {client.name: client for client in clients((), site())}
    assert known[models.PROBE].audiences == known[models.LOOKER].audiences == ("models",)
    assert known[models.PROBE].roles == ("scientist",)
    assert known[models.LOOKER].roles == ("viewer",)
    assert known["models"].kind == "page"


def test_the_keeper_writes_routes_and_wishes_become_objects_where_predictors_are() -> None:
    kinds = {kind for rule in models.RULES for kind in rule.resources}
    assert kinds == {"httproutes", "backends", "leases"}
    there = {kind for rule in models.WORK_RULES for kind in rule.resources}
    assert "secrets" not in there
    # All that it may ask for by name, and nothing else; one kind is the portal's.
    known = {plural for _, plural in kubernetes.KINDS.values()} - {"workflows"}
    assert kinds | there == known | {"deployments/scale"}
    (pods,) = [rule for rule in models.WORK_RULES if "endpointslices" in rule.resources]
    assert pods.verbs == ("get", "list")
    (services,) = [rule for rule in models.WORK_RULES if "services" in rule.resources]
    assert services.verbs == ("get",)
    assert models.place(SETTINGS, site()).account == "kserve-predictor"


def test_the_contract_fits_and_asks_for_no_backup() -> None:
    part = Component.model_validate(models.contract(SETTINGS, site()))
    assert not coverage.needed(part, "backup.py")
    assert part.secret_ref == "identity-client-models-probe"
    assert next(e for e in part.endpoints_in if e.protocol == "inference").tls_server_name == "models.lab.internal"


def test_the_keepers_code_needs_nothing_that_its_image_lacks() -> None:
    """It is mounted alone: no other part of the repository may be imported."""
    code = (
        "import sys; before = set(sys.modules)\n"
        "import components.models.keeper.__main__\n"
        "found = {n for n in set(sys.modules) - before if n.startswith('components.')}\n"
        "print(sorted(n for n in found if not n.startswith('components.models')))\n"
        "print(sorted({n.split('.')[0] for n in set(sys.modules) - before} & {'pydantic', 'yaml', 'pulumi'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"


def test_predictors_let_in_who_judges_them_where_somebody_does() -> None:
    def callers(here: SiteFacts) -> list[Any]:
        told = kserve.values(kserve.Settings(), here)["callers"]
        assert isinstance(told, list)
        return told

    keeper = in_namespace("platform", {"app.kubernetes.io/name": models.ROOM})
    assert keeper["podSelector"]["matchLabels"].items() <= models.LABELS.items()
    assert keeper in callers(site())
    assert keeper not in callers(site(models=None))


def test_two_keepers_at_least() -> None:
    with pytest.raises(ValueError, match="keepers"):
        models.Settings(keepers=1)
    assert replace(models.place(SETTINGS, site()), replicas=3).replicas == 3


def test_a_holder_that_dies_loses_no_question_and_one_that_went_without_a_word_is_noticed_in_seconds() -> None:
    spec = way("BackendTrafficPolicy", "models-asleep")["spec"]
    assert "reset" in spec["retry"]["retryOn"]["triggers"]
    # Where an answer began nothing is asked again; where it did not, a question that a pod may have got is.
    assert "reset" not in way("BackendTrafficPolicy", "models-answers")["spec"]["retry"]["retryOn"]["triggers"]
    # On busy hosts both may be slow to take it.
    assert spec["retry"]["numRetries"] >= 5
    assert spec["timeout"]["tcp"]["connectTimeout"] == "3s"
    alive = spec["tcpKeepalive"]
    assert int(alive["idleTime"][:-1]) + alive["probes"] * int(alive["interval"][:-1]) <= 4
    assert spec["healthCheck"]["active"]["http"]["path"] == "/v2/health/ready"


@pytest.mark.parametrize(
    ("told", "wrong"),
    [({"held_mib": 200}, "at most 40 % of the container's memory"), ({"held_mib": 2}, r"at least largest_mib \(4\)")],
)
def test_what_is_held_fits_into_a_keeper(told: dict[str, int], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        models.Settings(**told)  # type: ignore[arg-type]
