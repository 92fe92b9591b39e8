"""The feature store's chart, rendered as the stack renders it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from components.feast import settings as feast
from components.feast.image.apadana_feast import definitions, forget
from components.kit import fronts
from tests.rendered import datarooms
from tests.unit.test_feast_settings import site

pytestmark = pytest.mark.rendered


def render(**more: object) -> list[datarooms.Document]:
    done = datarooms.helm_template("feast", feast.values(feast.Settings(), site()) | more)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.fixture(scope="module")
def documents() -> list[datarooms.Document]:
    return render()


def of_kind(documents: list[datarooms.Document], kind: str) -> datarooms.Document:
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


def pods(documents: list[datarooms.Document]) -> list[dict[str, Any]]:
    cron = of_kind(documents, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return [*(of_kind(documents, kind)["spec"]["template"]["spec"] for kind in ("Deployment", "Job")), cron]


def test_it_is_what_a_restricted_namespace_takes(documents: list[datarooms.Document]) -> None:
    datarooms.assert_sound(documents)


def test_no_pod_gets_a_token_and_no_password_is_in_arguments_or_environment(
    documents: list[datarooms.Document],
) -> None:
    for spec in pods(documents):
        assert spec["automountServiceAccountToken"] is False
        container = spec["containers"][0]
        assert container["command"][:3] == ["python3", "-m", "apadana_feast"]
        assert all(set(each) == {"name", "value"} for each in container["env"])
        assert not [each for each in container["env"] if "PASSWORD" in each["name"]]


def test_the_jobs_see_the_stores_and_no_certificate_of_the_servers(documents: list[datarooms.Document]) -> None:
    for spec in pods(documents)[1:]:
        assert {volume["name"] for volume in spec["volumes"]} == {"database", "online", "definitions", "tmp"}
        assert spec["restartPolicy"] == "Never"


def test_one_run_at_a_time_within_its_limit(documents: list[datarooms.Document]) -> None:
    cron = of_kind(documents, "CronJob")["spec"]
    assert (cron["schedule"], cron["concurrencyPolicy"]) == ("*/15 * * * *", "Forbid")
    assert cron["jobTemplate"]["spec"]["activeDeadlineSeconds"] == 3600


def test_the_pods_read_the_definitions_that_the_preview_read(documents: list[datarooms.Document]) -> None:
    data = datarooms.named(documents, "ConfigMap", "feast-definitions")["data"]
    given = feast.files(feast.Settings())
    assert {name: definitions.read({name: text}) for name, text in data.items()} == {
        name: definitions.read({name: text}) for name, text in given.items()
    }


def test_other_definitions_are_applied_by_a_new_job_and_roll_the_servers(documents: list[datarooms.Document]) -> None:
    after = render(definitions={"other.yaml": "entities: []\n"})
    assert of_kind(documents, "Job")["metadata"]["name"] != of_kind(after, "Job")["metadata"]["name"]
    rolled = [
        of_kind(found, "Deployment")["spec"]["template"]["metadata"]["annotations"] for found in (documents, after)
    ]
    assert rolled[0] != rolled[1]


def test_only_who_uses_it_reaches_the_servers_and_nobody_the_jobs(documents: list[datarooms.Document]) -> None:
    _, clients = datarooms.named(documents, "NetworkPolicy", "feast-server")["spec"]["ingress"]
    labels = [peer["podSelector"]["matchLabels"] for peer in clients["from"]]
    assert labels == [{"apadana.io/client": "true"}, *[{"apadana.io/uses-feast": "true"}] * 2]  # here, and of users
    assert clients["ports"] == [{"protocol": "TCP", "port": feast.API_PORT}]
    for job in ("apply", "materialise"):
        assert len(datarooms.named(documents, "NetworkPolicy", f"feast-{job}")["spec"]["ingress"]) == 1


def test_who_asks_shows_a_certificate_or_a_password(documents: list[datarooms.Document]) -> None:
    front = datarooms.named(documents, "ConfigMap", "feast-files")["data"]["haproxy.cfg"]
    assert (
        "http-request auth realm apadana unless health or showed_certificate known_certificate or known_user" in front
    )
    assert "ssl_c_s_dn(cn) -m str prometheus-tls\n" in front


def test_who_reads_may_ask_for_the_newest_values_and_do_nothing_else(documents: list[datarooms.Document]) -> None:
    front = datarooms.named(documents, "ConfigMap", "feast-files")["data"]["haproxy.cfg"]
    rule = "http-request deny if { http_auth_group(callers) readers } !{ path /get-online-features /-/front }"
    api = front.partition("frontend api")[2]
    assert api.index("http-request auth ") < api.index(rule) < api.index("del-header Authorization")
    assert (
        fronts.users_file({"a": "x", feast.READER: "y"}, [feast.READER]).splitlines()[1]
        == "  group readers users predictor"
    )


def test_nobody_from_outside_the_pod_has_an_entity_forgotten(documents: list[datarooms.Document]) -> None:
    front = datarooms.named(documents, "ConfigMap", "feast-files")["data"]["haproxy.cfg"]
    ways = [part for part in front.split("\nfrontend ")[1:] if " bind " in part]
    assert len(ways) == 2 and forget.PATH.startswith("/-/")
    assert all("http-request deny if { path_beg /-/ } !{ method GET HEAD }" in way for way in ways)
