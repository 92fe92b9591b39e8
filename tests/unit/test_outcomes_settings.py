"""Settings of the room `outcomes`, and what follows from them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.kit.contract import Component
from components.kit.needs import Database
from components.kit.settings import SiteFacts
from components.kserve import settings as kserve
from components.outcomes import settings as outcomes
from components.postgres import settings as postgres
from tests.unit import test_models_settings as releases

SETTINGS = outcomes.Settings()


def site(**rooms: Any) -> SiteFacts:
    return releases.site(outcomes=SETTINGS, **rooms)


def wrong(settings: outcomes.Settings, **rooms: Any) -> list[str]:
    return [f"{m.key}: {m.allowed}" for m in settings.misfits(site(**rooms))]


def test_nothing_is_wrong_where_all_it_stands_on_is_there() -> None:
    assert not wrong(SETTINGS)
    assert not [m for m in postgres.Settings().misfits(site()) if m.key.startswith("postgres")]


def test_without_releases_nobody_predicts() -> None:
    assert wrong(SETTINGS, models=None) == ["outcomes.mode: 'off' where the site has no room models: nobody predicts"]


def test_what_it_keeps_has_to_go_into_its_database() -> None:
    (told,) = wrong(outcomes.Settings(database_gib=0.1))
    assert told == "outcomes.keep_rows: at most 89478 in database_gib 0.1, at 1200 bytes each"
    assert not wrong(outcomes.Settings(database_gib=0.1, keep_rows=89_478))


@pytest.mark.parametrize(
    ("key", "value"), [("replicas", 1), ("keep_days", 0), ("keep_rows", 10), ("wrong_percent_allowed", 100)]
)
def test_what_can_t_be_is_refused(key: str, value: int) -> None:
    with pytest.raises(ValueError, match=key):
        outcomes.Settings.model_validate({key: value})


@pytest.mark.parametrize("replicas", [2, 4])
def test_each_replica_has_two_connections(replicas: int) -> None:
    database, *_ = outcomes.Settings(replicas=replicas).needs()
    assert isinstance(database, Database) and database.connections == 2 * replicas


def test_pods_have_no_way_to_the_issuer() -> None:
    assert [use["room"] for use in outcomes.values(SETTINGS, site())["uses"]] == ["postgres", "models"]  # type: ignore


def test_its_file_names_keepers_and_database_and_no_secret() -> None:
    told = outcomes.told(SETTINGS, site())
    assert told["keepers"] == [["models-members.platform.svc.cluster.local", 8443]]
    assert told["database"]["name"] == "outcomes" and told["wrong_share_allowed"] == 0.2
    assert "password" not in json.dumps(told)


def test_predictors_let_it_in_where_it_is_there() -> None:
    def callers(facts: SiteFacts) -> str:
        return json.dumps(kserve.values(kserve.Settings(), facts)["callers"])

    assert '"outcomes"' in callers(site()) and '"outcomes"' not in callers(releases.site())
    assert kserve.PREDICTOR_PORT == outcomes.PODS_PORT


def test_its_part_of_the_contract_is_whole() -> None:
    part = Component.model_validate(outcomes.contract(SETTINGS, site()))
    assert part.secret_ref is None and {e.protocol for e in part.endpoints_in} == {"outcomes", "outcomes-service"}
