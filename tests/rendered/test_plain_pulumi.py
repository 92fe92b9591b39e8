"""The plain `pulumi` on a real API server keeps to the road's rules: what is guarded stays, one hand at a time.

The project is small, and holds its stack as the platform's program does: by `stacks.hand`. No controllers run here.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from common import locking
from common.places import REPOSITORY, Places
from road import preview, retire
from road.place import place
from road.work import Work
from stacks import home
from tests.rendered.apiserver import ApiServer
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.rendered
SITE, LAYER, STACK = "nowhere", "data", "nowhere-data"
PROGRAM = """
import os
from pathlib import Path

import pulumi
from pulumi_kubernetes import Provider
from pulumi_kubernetes.core.v1 import ConfigMap, Service

from common import locking
from common.errors import Refusal
from common.places import Places
from components.kit import chart, naming
from stacks import hand
from stacks.names import StackName

chart.COMPONENTS = Path.cwd()
places = Places.of("nowhere")
if "AS_BEFORE" not in os.environ:
    try:
        hand.take(StackName.parse(pulumi.get_stack()), places)
    except Refusal as error:
        raise pulumi.RunError(str(error)) from error
options = pulumi.ResourceOptions(provider=Provider("kubernetes", kubeconfig=os.environ["CLUSTER"]))
#: No garbage collector runs here, and nothing becomes ready.
alone = {"pulumi.com/skipAwait": "true", "pulumi.com/deletionPropagationPolicy": "background"}
meta = {"namespace": "default", "annotations": alone}
ConfigMap("words", metadata={**meta, "name": "words"}, data={"a": os.environ["WORD"]}, opts=options)
ConfigMap(naming.SITE_CA, metadata={**meta, "name": naming.SITE_CA}, data={"a": "1"}, opts=options)
front = os.environ["FRONT"]
Service(front, metadata={**meta, "name": front}, spec={"ports": [{"port": 1}]}, opts=options)
if "STORE" in os.environ:
    parent = pulumi.ComponentResource("apadana:test:All", "all", {}, options)
    chart.install("store", {"claim": os.environ["STORE"]}, namespace="default", parent=parent)
pulumi.export("holder", str(locking.read_holder(locking.holder_file(places.state_root, "nowhere"))))
"""
STORE = """
apiVersion: apps/v1
kind: StatefulSet
metadata:
  {name: store, namespace: default, annotations: {pulumi.com/skipAwait: "true"}, labels: {app.kubernetes.io/name: a}}
spec:
  serviceName: store
  selector: {matchLabels: {a: b}}
  template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}
  volumeClaimTemplates:
    - metadata: {name: {{ .Values.claim }}}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""
OBJECTS = {
    "words": "/api/v1/namespaces/default/configmaps/words",
    "site-ca": "/api/v1/namespaces/default/configmaps/site-ca",
    "front": "/api/v1/namespaces/default/services/front",
    "store": "/apis/apps/v1/namespaces/default/statefulsets/store",
}
WISHES = {"WORD": "1", "FRONT": "front", "STORE": "data"}


class Cli:
    """The bundle's pulumi in the shell of `stacks.home`, with a project of its own."""

    def __init__(self, folder: Path, server: ApiServer, program: str = PROGRAM) -> None:
        self.server, self.places = server, Places.of(SITE, {"APADANA_STATE": str(folder / "state")})
        if not (self.places.bundle / "bin" / "pulumi").is_file():
            pytest.skip(f"no bundle was built on this machine: {self.places.bundle}")
        shell = home.prepare_pulumi_home(self.places.bundle / "bin", self.places)
        server.kubeconfig(self.places.kubeconfig)
        self.environment = {**os.environ, **shell, "NO_COLOR": "1", "CLUSTER": str(self.places.kubeconfig)}
        self.environment |= {"APADANA_STATE": str(folder / "state"), "PYTHONPATH": str(REPOSITORY)}
        for name in (locking.TOKEN, "FORGET"):
            self.environment.pop(name, None)
        self.program = str(self.places.home / "bin" / "pulumi")
        self.project = folder / "project"
        chart = self.project / "store" / "chart"
        (chart / "templates").mkdir(parents=True)
        (chart / "Chart.yaml").write_text("{apiVersion: v2, name: store, version: 0.1.0}\n")
        (chart / "templates" / "store.yaml").write_text(STORE)
        virtual = {"name": "python", "options": {"virtualenv": str(Path(sys.prefix))}}
        (self.project / "Pulumi.yaml").write_text(yaml.safe_dump({"name": home.PROJECT, "runtime": virtual}))
        (self.project / "__main__.py").write_text(program)
        settings = self.places.stack_config(STACK)
        settings.parent.mkdir(parents=True)
        self.init()
        settings.write_bytes((self.project / settings.name).read_bytes())  # where the road looks for them

    def init(self) -> None:
        self._run(0, "stack", "init", STACK, "--non-interactive")

    def __call__(self, code: int, *words: str, **environment: str | None) -> str:
        """What it said; it has to end with this code."""
        return self._run(code, *words, "--stack", STACK, "--non-interactive", **environment)

    def _run(self, code: int, *words: str, **environment: str | None) -> str:
        wanted = {**self.environment, **WISHES, **environment}
        done = subprocess.run(
            [self.program, *words],
            cwd=self.project,
            env={name: value for name, value in wanted.items() if value is not None},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        said = done.stdout + done.stderr
        assert (done.returncode != 0) is bool(code), said
        return done.stdout if {"--json", "export"} & set(words) else said

    def plan(self, code: int = 0, **environment: str | None) -> preview.Plan:
        """As `make up` reads it."""
        return preview.read(self(code, "preview", "--json", **environment))

    def there(self) -> dict[str, str]:
        """What the API server has of the stack: names, and the uid of each, which a new one would not have."""
        answers = {name: self.server.call("GET", path) for name, path in OBJECTS.items()}
        return {name: json.loads(body)["metadata"]["uid"] for name, (status, body) in answers.items() if status == 200}

    def protected(self) -> set[str]:
        kept: dict[str, Any] = json.loads(self(0, "stack", "export"))
        resources = kept["deployment"]["resources"]
        return {str(each["urn"]).rpartition("::")[2].rpartition("/")[2] for each in resources if each.get("protect")}


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A stack that an older program has made: nothing of it is protected."""
    server = ApiServer(tmp_path_factory.mktemp("apiserver"))
    try:
        found = Cli(tmp_path_factory.mktemp("pulumi"), server)
        found(0, "up", "--yes", "--skip-preview", AS_BEFORE="1")
        yield found
    finally:
        server.stop()


def test_a_stack_of_an_older_version_takes_up_its_protection_in_place(cli: Cli) -> None:
    before = cli.there()
    assert set(before) == set(OBJECTS) and not cli.protected()
    plan = cli.plan()
    assert (plan.changes, plan.refusals) == (3, ())
    said = cli(0, "up", "--yes", "--skip-preview")
    assert "pulumi up --stack nowhere-data" in said, "nobody held the site"
    assert cli.protected() == {"site-ca", "front", "store"}
    assert cli.there() == before
    assert cli.plan().changes == 0


def test_the_road_is_told_what_a_plan_would_take_away(cli: Cli) -> None:
    said = {str(each) for each in cli.plan(1, FRONT="other", STORE=None).refusals}
    assert {text.split(": ")[0] for text in said} == {
        "would delete Service front",
        "would delete StatefulSet store:default/store",
    }
    (replaced,) = cli.plan(1, STORE="other").refusals
    assert "would replace StatefulSet store:default/store" in str(replaced)
    assert "volumeClaimTemplates" in str(replaced)


@pytest.mark.parametrize(
    ("wish", "more"), [(None, ()), (None, ("--skip-preview",)), ("other", ("--skip-preview",))], ids=str
)
def test_a_plain_up_takes_nothing_away_that_is_guarded(cli: Cli, wish: str | None, more: tuple[str, ...]) -> None:
    before = cli.there()
    said = cli(1, "up", "--yes", *more, STORE=wish)
    assert "protect" in said
    assert cli.there() == before


def test_a_plain_destroy_needs_the_stacks_name(cli: Cli) -> None:
    before = cli.there()
    said = cli(1, "destroy", "--yes", "--skip-preview", FORGET="nowhere-ml")
    assert f"FORGET={STACK} pulumi destroy" in said
    said = cli(1, "destroy", "--yes", PULUMI_RUN_PROGRAM=None)
    assert "because it is protected" in said, "in a shell of another make"
    assert cli.there() == before


def test_a_plain_pulumi_is_refused_while_another_hand_has_the_site(cli: Cli) -> None:
    root, before = cli.places.state_root, cli.there()
    with subprocess.Popen(["sleep", "1200"]) as another:
        try:
            locking.hold_for(another.pid, root, SITE, "make up")
            for verb in ("up", "refresh", "destroy"):
                said = cli(1, verb, "--yes", "--skip-preview", WORD="2", FORGET=STACK)
                assert "site 'nowhere' is held by" in said and f"(process {another.pid})" in said
            assert cli.plan(WORD="2").changes == 1, "a look changes nothing"
        finally:
            another.kill()
    assert cli.there() == before
    wait_for("the lock", lambda: not locking.holder_file(root, SITE).exists(), timeout=20)


def test_what_was_taken_away_by_hand_is_made_again(cli: Cli) -> None:
    """As UPGRADING.md says: protection keeps Pulumi from taking it away, not from learning that it is gone."""
    before = cli.there()
    for name in ("store", "front"):
        status, answer = cli.server.call("DELETE", OBJECTS[name])
        assert status == 200, answer
    cli(0, "refresh", "--yes", "--skip-preview")
    cli(0, "up", "--yes", "--skip-preview")
    after = cli.there()
    assert set(after) == set(before) and after["store"] != before["store"]
    assert cli.plan().changes == 0


def test_a_stack_that_is_named_is_destroyed_and_its_members_stay(cli: Cli) -> None:
    store = cli.there()["store"]
    cli(0, "destroy", "--yes", "--skip-preview", FORGET=f"other,{STACK}")
    assert cli.there() == {"store": store}
    cli.server.call("DELETE", OBJECTS["store"])


def test_the_road_takes_a_layer_off_that_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the commands of `make up FORGET=...`, on what is protected; its stack file is not there."""
    cli(0, "up", "--yes", "--skip-preview")
    assert set(cli.there()) == set(OBJECTS) and cli.protected()
    monkeypatch.setenv("APADANA_STATE", str(cli.places.state_root))
    where = place(SITE, {**cli.environment, "FORGET": STACK})
    assert retire.retired(where) == [LAYER]
    retire.remove(Work(where, "retired", ""), LAYER)
    assert cli.there() == {}
    assert retire.retired(where) == []
