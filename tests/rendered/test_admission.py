"""What settings let through, a real API server takes: no mistake waits for the installation."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from components.kit.discovery import rooms
from components.kit.loading import Loaded, SiteSettings, load, load_site
from components.kit.mistakes import SettingsError
from components.kit.names import is_text
from components.kit.settings import VOLUME_ROOM, ComponentSettings, SiteFacts
from components.kserve import batch
from components.kserve import settings as kserve
from components.kserve.image.server.wished import Wish
from components.spark import job as spark_job
from components.spark import settings as spark
from components.training import job as training_job
from components.training import settings as training
from tests.images import AnyImage
from tests.mutants import HOSTILE, Mutant, changed, inherited, mutants
from tests.rendered import objects
from tests.rendered.apiserver import SERVICES, ApiServer

pytestmark = pytest.mark.rendered

ROOMS = {room.name: room for room in rooms()}
MODELS = {name: room.settings_class() for name, room in ROOMS.items()}
SITE = "lab"  # whose inventory the storage room reads
INVENTORY = {"all": {"vars": {"site_service_cidr": SERVICES}}}
CHARTS = [name for name, room in ROOMS.items() if room.has("chart/Chart.yaml")]
Config = dict[str, Any]
#: Every mutant takes minutes: `make campaign` tries all, `make test` one of so many.
EVERY = 1 if os.environ.get("APADANA_MUTANTS") == "all" else 10


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    started = ApiServer(tmp_path_factory.mktemp("apiserver"))
    try:
        started.install(objects.definitions(tmp_path_factory.mktemp("crds")))
        yield started
    finally:
        started.stop()


@pytest.fixture
def maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> objects.Maker:
    return objects.Maker(tmp_path, monkeypatch)


def accepted(name: str, config: Config, **site: object) -> SiteFacts | None:
    """The whole site with these settings of one room, all other rooms as they are by default."""
    configs: dict[str, Config] = {}
    for other, model in MODELS.items():
        stack = configs.setdefault(model.layer, {"apadana:site": SITE})
        stack |= {f"apadana:{key}": value for key, value in site.items()}
        if other in (name, "storage"):
            # Volumes are no matter of the API server: no host is asked for its own.
            stack[f"apadana:{other}"] = config if other == name else {"source": "given"}
    try:
        loaded: Loaded = load_site(SITE, configs, MODELS, None, None if name == "storage" else INVENTORY)
    except SettingsError:
        return None
    return loaded.facts(AnyImage())


def survivors(name: str) -> Iterator[tuple[Mutant, SiteFacts]]:
    """Mutants that the settings take; of those of a field that differ in size only, the ends."""
    kept: dict[tuple[object, ...], list[Mutant]] = {}
    for mutant in mutants(MODELS[name], leave_out=inherited(MODELS[name], ComponentSettings)):
        stack = f"{SITE}-{MODELS[name].layer}"
        try:
            given = {"apadana:site": SITE, f"apadana:{name}": mutant.config}
            load(stack, given, {name: MODELS[name]})
        except SettingsError:
            continue
        kept.setdefault((mutant.path, shape(mutant.value)), []).append(mutant)
    met: list[ComponentSettings] = []
    for same in kept.values():
        for mutant in (same[0], same[-1]):
            site = accepted(name, mutant.config)
            if site is not None and site.rooms[name] not in met:
                met.append(site.rooms[name])
                yield mutant, site


def shape(value: Any) -> object:
    """What makes two values alike: numbers and plain words are, everything else is of its own."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    if isinstance(value, str) and re.fullmatch("[a-z][a-z-]*", value) and is_text(value):
        return "word"
    return json.dumps(value)


def render(site: SiteFacts, name: str) -> list[Any]:
    return objects.rendered(name, site.rooms[name], site)


def own(maker: objects.Maker, site: SiteFacts, name: str) -> list[Any]:
    """What its component and its cluster-scoped half make."""
    settings = site.rooms[name]
    return maker.made(name, settings, site) + objects.halved(name, settings, site) + jobs(settings, site)


def jobs(settings: object, site: SiteFacts) -> list[Any]:
    """What people start with them, where it is made of them."""
    if isinstance(settings, kserve.Settings):
        wish = Wish("iris", f"sha256:{'1' * 64}", "s3://batch/asked", "s3://batch/told")
        return [batch.job(wish, batch.house(settings, site))]
    if isinstance(settings, spark.Settings):
        return spark_job.objects(spark_job.Job("clean", {"main.py": ""}, "main.py"), spark.house(settings, site))
    if isinstance(settings, training.Settings):
        asked = training_job.Job("trees", {"main.py": "def train(job): ..."}, "main.py")
        return training_job.objects(asked, training.house(settings, site))
    return []


def assert_taken(server: ApiServer, documents: list[Any], why: str, seen: set[str]) -> None:
    for document in documents:
        text = json.dumps(document, sort_keys=True)
        if text not in seen:
            seen.add(text)
            assert server.refusal(document) is None, (why, server.refusal(document))


def test_the_server_refuses_what_is_wrong(server: ApiServer) -> None:
    """Else the tests below would prove nothing."""
    made = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}}
    names = {"good": True, "Bad": False, "a" * 254: False}
    for name, good in names.items():
        whole = {**made, "metadata": {"name": name, "namespace": "platform"}}
        assert (server.refusal(whole) is None) is good, name
    unknown = {**made, "metadata": {"name": "good", "namespace": "platform"}, "dada": {}}
    assert "unknown field" in str(server.refusal(unknown))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_what_the_settings_take_the_api_server_takes(name: str, server: ApiServer, maker: objects.Maker) -> None:
    seen: set[str] = set()
    found = list(survivors(name))[::EVERY]
    assert found
    for mutant, site in found:
        documents = own(maker, site, name)
        assert_taken(server, documents, f"{mutant.path}: {mutant.value!r}", seen)
    if name not in CHARTS:
        return
    with ThreadPoolExecutor(2) as pool:
        charts = pool.map(lambda each: render(each[1], name), found)
        for (mutant, _), documents in zip(found, charts, strict=True):
            assert_taken(server, documents, f"{mutant.path}: {mutant.value!r}", seen)


def called(path: str) -> dict[object, tuple[Any, SiteFacts]]:
    """What the site may be called: of like values the longest."""
    found: dict[object, tuple[Any, SiteFacts]] = {}
    for value in sorted(HOSTILE, key=lambda each: len(str(each))):
        config = changed(SiteSettings, (path,), value)
        site = accepted("", {}, **{path: config[path]})
        if site is not None:
            text = str(value)
            found["." in text, is_text(text), "--" in text] = (value, site)
    return found


@pytest.mark.parametrize(
    "path",
    ["namespace", *(pytest.param(each, marks=pytest.mark.campaign) for each in ("cluster_domain", "web_domain"))],
)
def test_what_the_site_may_be_called_the_api_server_takes(path: str, server: ApiServer, maker: objects.Maker) -> None:
    seen: set[str] = set()
    found = called(path)
    assert found
    for value, site in found.values():
        with ThreadPoolExecutor(2) as pool:
            charts = pool.map(partial(render, site), CHARTS)
            for documents in charts:
                assert_taken(server, documents, f"{path}: {value!r}", seen)
        for name in MODELS:
            documents = own(maker, site, name)
            assert_taken(server, documents, f"{path}: {value!r}", seen)


@pytest.mark.parametrize("name", CHARTS)
def test_what_a_room_claims_is_what_its_chart_asks_for(name: str) -> None:
    """The storage room compares claims with the inventory; it does not know the charts."""
    site = accepted("", {})
    assert site is not None
    asked = Counter[tuple[str, int, int]]()
    for class_, size, members, each in objects.claims(objects.rendered(name, site.rooms[name], site)):
        asked[class_, size, members] += each
    said = Counter[tuple[str, int, int]]()
    for claim in site.rooms[name].claims():
        said[claim.class_, claim.size_gib, claim.members] += claim.each
    assert asked == said, f"{name}: claims() of its settings and volumeClaimTemplates differ"


CLAIMING = [name for name in CHARTS if MODELS[name]().claims()]


@pytest.mark.parametrize("name", CLAIMING)
def test_a_claim_selects_its_rooms_volumes(name: str) -> None:
    """Where the inventory sets them aside; a provisioner of a client's refuses a claim that selects."""
    for source, selected in (("local", {"matchLabels": {VOLUME_ROOM: name}}), ("given", None)):
        site = accepted("storage", {"source": source})
        assert site is not None
        sets = [document for document in render(site, name) if document["kind"] == "StatefulSet"]
        claims = [template["spec"] for each in sets for template in each["spec"].get("volumeClaimTemplates", ())]
        assert claims and all(spec.get("selector") == selected for spec in claims), source
