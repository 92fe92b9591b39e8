"""The observe layer's charts as the lab's stack renders them, read by the programs they are for."""

from __future__ import annotations

import importlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.kit import fronts, pki
from components.kit.settings import SiteFacts
from stacks.composition import compose
from tests import debian_programs
from tests.engine.built import built
from tests.images import AnyImage
from tests.rendered import datarooms, objects

pytestmark = pytest.mark.rendered
PROMETHEUS, ALERTMANAGER = "prometheus", "alertmanager"
ROOMS = (PROMETHEUS, ALERTMANAGER)
HOSTS = {"resources": ["nodes"]}
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"


LAB = compose("lab")
SITE: SiteFacts = LAB.facts(AnyImage())


def values(room: str) -> dict[str, Any]:
    found: dict[str, Any] = importlib.import_module(f"components.{room}.settings").values(LAB.rooms[room], SITE)
    return found


def render(room: str, **more: object) -> list[datarooms.Document]:
    done = datarooms.helm_template(room, values(room) | more)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@pytest.fixture(scope="module")
def documents() -> dict[str, list[datarooms.Document]]:
    return {room: render(room) for room in ROOMS}


@pytest.fixture(scope="module")
def programs() -> dict[str, Path]:
    try:
        return {room: debian_programs.root(f"image/{room}") for room in ROOMS}
    except debian_programs.NotHereError as error:
        pytest.skip(str(error))


def files(documents: list[datarooms.Document], name: str) -> dict[str, str]:
    found: dict[str, str] = datarooms.named(documents, "ConfigMap", name)["data"]
    return found


def placed(documents: dict[str, list[datarooms.Document]], room: str, folder: Path) -> dict[str, Path]:
    """The room's files as its pods see them, below a folder."""
    leaf_folder = folder / "pki"
    pki.ensure_ca(leaf_folder, "test")
    leaf = pki.ensure_leaf(leaf_folder, f"{room}-tls", ["localhost"], usage=pki.Usage.BOTH)
    parts = {
        "files": files(documents[room], f"{room}-files"),
        "tls": leaf.secret_data(),
        "auth": {fronts.USERS_FILE: fronts.users_file({"probe": "a-password"})},
    }
    if room == PROMETHEUS:
        parts["rules"] = files(documents[room], f"{room}-rules")
    for part, data in parts.items():
        (folder / part).mkdir()
        for name, text in data.items():
            text = text.replace(TOKEN, str(folder / "tls" / "tls.key"))
            (folder / part / name).write_text(text.replace("/etc/apadana/", f"{folder}/"))
    return {part: folder / part for part in parts}


def run(command: list[str], *words: object) -> str:
    done = subprocess.run([*command, *map(str, words)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("room", ROOMS)
def test_it_is_what_a_restricted_namespace_takes(documents: dict[str, list[datarooms.Document]], room: str) -> None:
    datarooms.assert_sound(documents[room])


def test_who_asks_kubelets_has_a_token_and_nobody_else(documents: dict[str, list[datarooms.Document]]) -> None:
    for room in ROOMS:
        for _, template in datarooms.templates(documents[room]):
            assert template["spec"]["automountServiceAccountToken"] is (room == PROMETHEUS)


def test_what_watches_no_host_has_no_token_and_asks_nobody() -> None:
    blind = {"watch_volumes": False, "watch_control_planes": False, "watch_names": False}
    settings = LAB.rooms[PROMETHEUS].model_copy(update=blind)
    documents = objects.rendered(PROMETHEUS, settings, SITE)
    ((_, template),) = datarooms.templates(documents)
    assert template["spec"]["automountServiceAccountToken"] is False
    assert not [each for each in documents if each["kind"] == "ServiceAccount"]
    assert "kubernetes_sd_configs" not in files(documents, "prometheus-files")["prometheus.yml"]
    assert objects.halved(PROMETHEUS, settings, SITE) == []
    assert len(objects.halved(PROMETHEUS, LAB.rooms[PROMETHEUS], SITE)) == 4


@pytest.mark.parametrize(
    ("watched", "jobs", "rights"),
    [
        ("watch_volumes", {"volumes"}, [HOSTS, {"resources": ["nodes/metrics"]}]),
        (
            "watch_control_planes",
            {"api-servers", "api-certificates", "usage-figures"},
            [HOSTS, {"nonResourceURLs": ["/metrics/slis"]}, {"apiGroups": ["metrics.k8s.io"], "verbs": ["list"]}],
        ),
        ("watch_names", {"coredns"}, [{"resources": ["pods"]}]),
    ],
)
def test_each_right_is_asked_for_by_what_needs_it(
    watched: str, jobs: set[str], rights: list[dict[str, list[str]]]
) -> None:
    only = {"watch_volumes": False, "watch_control_planes": False, "watch_names": False} | {watched: True}
    settings = LAB.rooms[PROMETHEUS].model_copy(update=only)
    role, _ = objects.halved(PROMETHEUS, settings, SITE)
    assert all(right.items() <= rule.items() for right, rule in zip(rights, role["rules"], strict=True))
    # Pods are read where CoreDNS runs, and nowhere else.
    assert role["metadata"].get("namespace") == ("kube-system" if watched == "watch_names" else None)
    documents = objects.rendered(PROMETHEUS, settings, SITE)
    ((_, template),) = datarooms.templates(documents)
    assert template["spec"]["automountServiceAccountToken"] is True
    told = yaml.safe_load(files(documents, "prometheus-files")["prometheus.yml"])
    assert {each["job_name"] for each in told["scrape_configs"] if "kubernetes_sd_configs" in each} == jobs


@pytest.mark.parametrize("room", ROOMS)
def test_the_page_is_open_to_nobody_by_the_rooms_own_rule(
    documents: dict[str, list[datarooms.Document]], room: str
) -> None:
    """Its door has no log-in: the gateway's rule is the only one for it."""
    page = importlib.import_module(f"components.{room}.settings").WEB_PORT
    for document in documents[room]:
        if document["kind"] == "NetworkPolicy":
            for rule in document["spec"].get("ingress", []):
                assert page not in [port["port"] for port in rule.get("ports", [])]


@pytest.mark.parametrize("room", ROOMS)
def test_the_engine_listens_on_the_pods_loopback(documents: dict[str, list[datarooms.Document]], room: str) -> None:
    ((_, template),) = datarooms.templates(documents[room])
    listening = [a for a in template["spec"]["containers"][0]["args"] if "listen-address" in a]
    assert listening[0].startswith("--web.listen-address=127.0.0.1:")


@pytest.mark.parametrize("room", ROOMS)
def test_a_front_reads_its_settings(
    documents: dict[str, list[datarooms.Document]], programs: dict[str, Path], tmp_path: Path, room: str
) -> None:
    where = placed(documents, room, tmp_path)
    # Names of the cluster don't resolve here, and need not: `init-addr none`.
    haproxy = debian_programs.command(programs[room], "sbin/haproxy")
    run(haproxy, "-c", "-f", where["files"] / "haproxy.cfg", "-f", where["auth"] / fronts.USERS_FILE)


def test_prometheus_reads_its_settings_and_every_rule(
    documents: dict[str, list[datarooms.Document]], programs: dict[str, Path], tmp_path: Path
) -> None:
    where = placed(documents, PROMETHEUS, tmp_path)
    promtool = debian_programs.command(programs[PROMETHEUS], "bin/promtool")
    said = run(promtool, "check", "config", where["files"] / "prometheus.yml")
    loaded = {path.stem for path in where["rules"].glob("*.yml")}
    assert {"postgres", "kafka", "minio", "redis", "prometheus", "alertmanager", "window"} <= loaded
    assert said.count("rules found") == len(loaded)


def test_what_looks_at_certificates_reads_its_settings(
    documents: dict[str, list[datarooms.Document]], tmp_path: Path
) -> None:
    program = built("bin/*/blackbox-exporter")
    where = placed(documents, PROMETHEUS, tmp_path)
    run([str(program)], "--config.check", f"--config.file={where['files'] / 'certificates.yml'}")


def test_what_is_found_of_certificates_is_no_member_of_the_room(documents: dict[str, list[datarooms.Document]]) -> None:
    told = yaml.safe_load(files(documents[PROMETHEUS], "prometheus-files")["prometheus.yml"])
    (job,) = [each for each in told["scrape_configs"] if each["job_name"] == "certificates"]
    assert all("component" not in each["labels"] for each in job["static_configs"])
    assert {"source_labels": ["of"], "target_label": "component"} in job["metric_relabel_configs"]


def test_alertmanager_reads_its_settings(programs: dict[str, Path], tmp_path: Path) -> None:
    hook = {"name": "duty", "url": "https://alerts.example/", "port": 443, "resolved": True}
    told = render(ALERTMANAGER, receivers=[hook | {"secret": "duty-token", "trust": "site"}])
    where = placed({ALERTMANAGER: told}, ALERTMANAGER, tmp_path)
    amtool = debian_programs.command(programs[ALERTMANAGER], "bin/amtool")
    said = run(amtool, "check-config", where["files"] / "alertmanager.yml")
    assert "1 receivers" in said
    spec = datarooms.named(told, "StatefulSet", ALERTMANAGER)["spec"]["template"]["spec"]
    assert any(v.get("secret", {}).get("secretName") == "duty-token" for v in spec["volumes"])
    policy = datarooms.named(told, "NetworkPolicy", f"{ALERTMANAGER}-server")["spec"]
    assert {"ports": [{"protocol": "TCP", "port": 443}]} in policy["egress"]


def test_nobody_is_told_where_no_receiver_is_set(documents: dict[str, list[datarooms.Document]]) -> None:
    told = yaml.safe_load(files(documents[ALERTMANAGER], f"{ALERTMANAGER}-files")["alertmanager.yml"])
    assert told["receivers"] == [{"name": "nobody"}]


ALONE = "1+1x120"  # minutes that grow with the clock
AHEAD = "1440+1x120"
GONE = "1440+1x29 stale _x90"  # lost after half an hour
CASES = [
    ("as much as the other one", {"0": ALONE, "1": ALONE}, "1x120", 60, [1]),
    ("the other one has a day more", {"0": ALONE, "1": AHEAD}, "1x120", 60, [0]),
    ("the other one was lost just now", {"0": ALONE, "1": GONE}, "1x29 0x90", 33, [0]),
    ("the other one is gone", {"0": ALONE, "1": GONE}, "1x29 0x90", 60, [1]),
    ("only itself was asked so far", {"0": ALONE}, None, 60, []),
]


@pytest.mark.parametrize(
    ("minutes", "up", "at", "wanted"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_a_replica_says_whether_it_has_the_whole_window(
    documents: dict[str, list[datarooms.Document]],
    programs: dict[str, Path],
    tmp_path: Path,
    minutes: dict[str, str],
    up: str | None,
    at: int,
    wanted: list[int],
) -> None:
    """The rule that the fronts ask for, evaluated by Prometheus' own tester."""
    rules = files(documents[PROMETHEUS], f"{PROMETHEUS}-rules")["window.yml"]
    (tmp_path / "window.yml").write_text(rules)
    series = {'up{job="window",member="0"}': "1x120", 'up{job="kafka"}': "1x120"}
    if up is not None:
        series['up{job="window",member="1"}'] = up
    for member, numbers in minutes.items():
        series[f'apadana:watched_minutes{{job="window",member="{member}"}}'] = numbers
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": text} for name, text in series.items()],
        "promql_expr_test": [
            {
                "expr": "apadana:whole",
                "eval_time": f"{at}m",
                "exp_samples": [{"labels": "apadana:whole", "value": value} for value in wanted],
            }
        ],
    }
    content = {"rule_files": ["window.yml"], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "test.yml").write_text(json.dumps(content))
    promtool = debian_programs.command(programs[PROMETHEUS], "bin/promtool")
    run(promtool, "test", "rules", tmp_path / "test.yml")
