"""From a trained model to an answer through the gateway, and back to nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.models.judge.machine import YARDSTICK
from components.models.keeper.objects import GRPC, short
from components.models.keeper.wish import LABEL
from components.outcomes import settings as outcomes
from tests import lab, pages, serving
from tests.engine import calling
from tests.serving import Caller, Load, Trained
from validate.ground.kubectl import wait_for
from validate.ground.pods import new_run_id
from validate.pod.integration.features import NAMES

pytestmark = pytest.mark.live
ASKED, SHADOWED = 400, 50
#: Of chi-square with one degree of freedom: a right split is beyond it once in a thousand times.
LIMIT = 10.83
RATE, KILLED_SECONDS = 20, 25


@dataclass
class Release:
    """A release of the lab, two versions of its model, and who asks."""

    name: str
    first: Trained
    second: Trained
    token: serving.Tokens

    @property
    def body(self) -> bytes:
        return serving.question(self.first.asked)

    def caller(self) -> Caller:
        return Caller(self.name, self.token)

    def version(self, trained: Trained) -> str:
        """As answers name it."""
        told = serving.command("explain", self.name).stdout
        found = re.search(rf"{re.escape(trained.reference)} is (sha256:\w+)", told)
        assert found, told
        return short(found[1])


def objects(kind: str, namespace: str, name: str) -> list[dict[str, Any]]:
    items = lab.cluster().json("-n", namespace, "get", kind, "-l", f"{LABEL}={name}")["items"]
    assert isinstance(items, list)
    return items


@pytest.fixture(scope="module")
def release() -> Iterator[Release]:
    name = f"test-{new_run_id()}"
    with serving.trainer() as pod:
        first, second = (serving.train(pod, name, seed) for seed in (1, 2))
    try:
        serving.did("deploy", name, first.reference, "--why", "a test")
        yield Release(name, first, second, serving.Tokens())
    finally:
        serving.command("retire", name, "--wait", "240")


def test_a_model_answers_as_it_did_where_it_was_trained(release: Release) -> None:
    status, told = release.caller().ask(release.body)
    assert status == 200, told
    assert told["outputs"][0]["data"] == release.first.answers
    assert told["model_name"] == release.name
    assert told["model_version"] == release.version(release.first)


def test_by_grpc_it_answers_as_by_rest_and_nobody_without_a_token(release: Release, tmp_path: Path) -> None:
    asked = calling.question(release.name, release.first.asked)
    named = {GRPC.named: release.name}
    with calling.client(tmp_path, serving.host(), lab.found().site_ca) as client:
        address = f"{pages.floating()}:443"
        (said,) = client.all(address, "ModelInfer", [asked], named | {"authorization": f"Bearer {release.token()}"})
        (nobody,) = client.all(address, "ModelInfer", [asked], named)
    assert said.code == "OK", said
    assert said.told["model_version"] == release.version(release.first)
    assert said.told["outputs"][0]["contents"] == {"int64_contents": [str(each) for each in release.first.answers]}
    assert nobody.code == "UNAUTHENTICATED", nobody


def test_its_pods_stand_on_two_hosts_and_one_at_a_time_may_be_taken(release: Release) -> None:
    pods = objects("pods", lab.work(), release.name)
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 2
    (budget,) = objects("poddisruptionbudgets", lab.work(), release.name)
    found = wait_for("the budget to be counted", lambda: _allowed(budget["metadata"]["name"]) or None, timeout=120)
    assert found == 1


def _allowed(name: str) -> int:
    found = lab.cluster().json("-n", lab.work(), "get", "poddisruptionbudget", name)
    return int(found.get("status", {}).get("disruptionsAllowed", 0))


def test_without_a_token_or_with_a_role_that_may_only_look_nobody_is_answered(release: Release) -> None:
    assert Caller(release.name).ask(release.body)[0] == 401
    assert Caller(release.name, "e30.e30.AA").ask(release.body)[0] == 401
    assert Caller(release.name, serving.looker()).ask(release.body)[0] == 403
    assert release.caller().ask(release.body)[0] == 200


@pytest.mark.parametrize(
    ("body", "allowed"),
    [
        (b'{"inputs": [', {400, 422}),
        (b"[]", {400, 422}),
        (b"{}", {400, 422}),
        (serving.question([[1.0]]), {400}),
        (serving.question([[0.5] * len(NAMES)]).replace(b"0.5", b"1e400", 1), {400, 422}),
        (serving.question([[0.5] * len(NAMES)]).replace(b"0.5", b'"a"', 1), {400, 422}),
        (serving.question([[0.5] * len(NAMES)]).replace(b"[1, 11]", b"[2, 11]"), {400}),
        (b'{"instances": [[1, 2]]}', {400, 422}),
        (b" " * (5 << 20), {413}),
    ],
    ids=["broken", "a list", "empty", "shape", "infinite", "text", "wrong shape told", "another protocol", "too large"],
)
def test_what_is_no_question_is_refused_and_the_model_goes_on(release: Release, body: bytes, allowed: set[int]) -> None:
    caller = release.caller()
    status, told = caller.ask(body)
    assert status in allowed, (status, told)
    caller.close()
    assert release.caller().ask(release.body)[0] == 200


def test_an_answer_and_what_turned_out_to_be_true_meet(release: Release) -> None:
    """Told by a service of its own account, through the gateway, as a client does."""
    names = [f"{new_run_id()}-{number}" for number in range(3)]
    question = json.loads(release.body)
    for name in names:
        status, told = release.caller().ask(json.dumps({**question, "id": name}).encode())
        assert status == 200 and told["id"] == name, told
    true = [release.first.answers, [1 - each for each in release.first.answers]]
    items = [{"model": release.name, "id": n, "actual": each[:8]} for n, each in zip(names, true, strict=False)]
    teller = serving.Tokens(outcomes.PROBE)

    def asked(method: str, path: str, body: object = None) -> tuple[int, Any]:
        return serving.page(outcomes.ROOM, method, path, teller(), body)

    # As a client does: what was not acknowledged is told again.
    told = wait_for(
        "outcomes to be taken", lambda: _taken(asked("POST", "/outcomes", {"outcomes": items})), timeout=180
    )
    assert told == {"kept": 2}

    def known() -> dict[str, Any] | None:
        found = _taken(asked("GET", f"/report?model={release.name}&days=1"))
        figures = (found or {}).get("figures") or [{}]
        return figures[0] if figures[0].get("predictions") == len(names) else None

    found = wait_for("both to be known", known, timeout=180, swallow=(OSError,))
    rows = len(release.first.answers[:8])
    assert (found["version"], found["known"], found["labels"]) == (release.version(release.first), 2, 2 * rows)
    assert found["wrong"] == rows
    assert serving.page(outcomes.ROOM, "POST", "/outcomes", serving.looker(), {"outcomes": items})[0] in (401, 403)
    for name in names:
        assert asked("DELETE", f"/outcomes?model={release.name}&id={name}")[0] in (200, 503)


def _taken(found: tuple[int, Any]) -> dict[str, Any] | None:
    """None where the room asks to be asked again."""
    status, told = found
    assert status in (200, 503), found
    return dict(told) if status == 200 else None


def test_a_canary_answers_its_share(release: Release) -> None:
    serving.did("canary", release.name, release.second.reference, "--percent", "10")
    versions = [release.version(each) for each in (release.first, release.second)]
    caller = release.caller()

    def seen() -> str | None:
        return caller.ask(release.body)[1]["model_version"] == versions[1] or None

    assert wait_for("the proxies to know the canary", seen, timeout=120)
    counted: dict[str, int] = {}
    for _ in range(ASKED):
        said = caller.ask(release.body)[1]["model_version"]
        counted[said] = counted.get(said, 0) + 1
    assert set(counted) == set(versions), counted
    assert serving.chi_square(counted, dict(zip(versions, (0.9, 0.1), strict=True))) < LIMIT, counted


COUNT = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/metrics').read().decode())"


def asked(release: str, version: str) -> float:
    """How many questions a version's pods answered, by their own count."""
    total = 0.0
    for pod in objects("pods", lab.work(), release):
        if pod["metadata"]["labels"].get("apadana.io/model-version") == version:
            where = (lab.work(), pod["metadata"]["name"], ("python3", "-c", COUNT))
            text = lab.cluster().exec(*where, container="kserve-container", timeout=120)
            counts = re.findall(r"^request_predict_seconds_count\S* (\S+)$", text, re.MULTILINE)
            total += sum(map(float, counts))
    return total


def test_a_shadow_gets_copies_and_nobody_sees_its_answers(release: Release) -> None:
    serving.did("shadow", release.name, release.second.reference, "--percent", "100")
    stable, hidden = (release.version(each) for each in (release.first, release.second))
    caller = release.caller()

    def copied() -> float | None:
        caller.ask(release.body)
        return asked(release.name, hidden) or None

    wait_for("the proxies to know the shadow", copied, timeout=180)
    before = asked(release.name, hidden)
    said = {caller.ask(release.body)[1]["model_version"] for _ in range(SHADOWED)}
    assert said == {stable}

    def all_came() -> float | None:
        found = asked(release.name, hidden) - before
        return found if found >= SHADOWED else None

    assert wait_for("every copy to be counted", all_came, timeout=120) == SHADOWED


def test_a_rollback_takes_the_canary_away(release: Release) -> None:
    serving.did("rollback", release.name, "--why", "a test")
    stable = release.version(release.first)
    said = {release.caller().ask(release.body)[1]["model_version"] for _ in range(100)}
    assert said == {stable}


def test_the_judge_gives_a_canary_its_first_share_by_what_the_pods_count(release: Release) -> None:
    caller = release.caller()
    for _ in range(YARDSTICK):
        assert caller.ask(release.body)[0] == 200
    serving.did("canary", release.name, release.second.reference, "--judge")

    def told() -> str | None:
        said = serving.command("explain", release.name).stdout
        return said if "judge     canary, 10 % to" in said else None

    said = wait_for("the judge to read the pods and to give it 10 %", told, timeout=180)
    assert re.search(r"^decision  \S+ judge: \S+: 0 % -> 10 %: ", said, re.MULTILINE), said
    assert "waits to show that answers that are no 2xx" in said
    serving.did("rollback", release.name)


def test_a_predictor_dies_under_load_and_answers_go_on(release: Release) -> None:
    load = Load(release.name, release.body, release.token, RATE)
    with load.running():
        wait_for("answers", lambda: len(load.answers) > RATE or None, timeout=120)
        victim = objects("pods", lab.work(), release.name)[0]["metadata"]["name"]
        before = len(load.answers)
        lab.cluster().run("-n", lab.work(), "delete", "pod", victim, "--now", "--wait=false")
        enough = before + RATE * KILLED_SECONDS
        wait_for("more answers", lambda: len(load.answers) > enough or None, timeout=KILLED_SECONDS + 30)
    counted = load.counted()
    good = counted[release.version(release.first)]
    assert good >= 0.99 * sum(counted.values()), counted


def test_retired_nothing_is_left(release: Release) -> None:
    serving.did("retire", release.name, wait=300)
    namespace = lab.found().platform.namespace
    for kind in ("inferenceservices", "pods", "poddisruptionbudgets", "configmaps"):
        assert objects(kind, lab.work(), release.name) == [], kind
    assert objects("httproutes", namespace, release.name) == []
    status, _ = release.caller().ask(release.body)
    assert status == 404
