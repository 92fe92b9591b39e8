"""The portal's pages of workflows: what they show, what their buttons do, what is refused."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.kit import pki
from components.portal.server import answering, graph, runs_page
from components.portal.server.flows import Flows
from components.portal.server.kubernetes import ApiError
from components.portal.server.overview import Overview
from components.portal.server.page import Facts
from components.portal.server.runs import BY, Step, read
from components.portal.server.watch import Watch
from tests.unit.test_workflow_runs import NOW, node, workflow

Object = dict[str, Any]


class Api:
    """An API server that holds some workflows and a pod."""

    def __init__(self, *held: Object, says: str = "loss 0.1\n") -> None:
        self.held = {each["metadata"]["name"]: each for each in held}
        self.says, self.made, self.changed = says, list[Object](), list[tuple[str, Object]]()
        self.away = False

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        self._answers(kind, namespace)
        return self.held.get(name)

    def all(self, kind: str, namespace: str, label: str = "") -> list[Object]:
        self._answers("Workflow", namespace)
        if kind == "Workflow":
            return list(self.held.values())
        names = {"tabular-1-prepare-7": "tabular-1.prepare(0)", "tabular-1-late-8": "tabular-1.late(0)"}
        assert label == "workflows.argoproj.io/workflow=tabular-1"
        return [
            {"metadata": {"name": name, "annotations": {"workflows.argoproj.io/node-name": node_name}}}
            for name, node_name in names.items()
        ]

    def each(self, kind: str, namespace: str, at_once: int) -> Iterator[Object]:
        self._answers(kind, namespace)
        yield from self.held.values()

    def make(self, item: Object) -> Object:
        self.made.append(item)
        return item

    def patch(self, kind: str, namespace: str, name: str, part: Object) -> None:
        self._answers(kind, namespace)
        self.changed.append((name, part))

    def log(self, namespace: str, pod: str, container: str, lines: int, *, times: bool = False) -> str:
        assert (container, lines, times) == ("main", 500, False)
        if "late" in pod:
            raise ApiError("GET log", 400, b'{"message": "it is waiting to start"}')
        return '{"level": "INFO", "argo":true}\n' + self.says

    def kept(self, key: str) -> str:
        if key != "steps/tabular-1/prepare/main.log":
            raise OSError("the store of logs: NoSuchKey")
        return "kept\n"

    def _answers(self, kind: str, namespace: str) -> None:
        assert (kind, namespace) == ("Workflow", "steps")
        if self.away:
            raise ConnectionRefusedError("nobody listens")


Ask = Callable[..., tuple[int, str, http.client.HTTPMessage]]


@pytest.fixture
def api() -> Api:
    running = workflow("Running", [node("prepare", "Succeeded", startedAt="2026-03-01T12:00:00Z")])
    failed = workflow("Failed", [node("prepare", "Succeeded"), node("a", "Failed", message="a <gate>")])
    failed["metadata"]["name"], failed["status"]["startedAt"] = "tabular-2", "2026-03-01T11:00:00Z"
    return Api(running, failed)


@pytest.fixture
def ask(tmp_path: Path, api: Api) -> Iterator[Ask]:
    """Asks a replica of the portal."""
    pki.ensure_ca(tmp_path / "pki", "test")
    leaf = pki.ensure_leaf(tmp_path / "pki", "server", ["localhost"])
    (tmp_path / "tls.crt").write_bytes(leaf.certificate.read_bytes())
    (tmp_path / "tls.key").write_bytes(leaf.key.read_bytes())
    facts = Facts("lab", Overview, lambda: 1.0, lambda: "")
    server = answering.Server(
        facts, Flows("steps", lambda: api, api.kept), 0, tmp_path, lambda _: None, Watch("steps", lambda: api)
    )
    server.start()
    context = ssl.create_default_context(cafile=str(tmp_path / "pki" / "ca.crt"))

    def asked(method: str, path: str, **headers: str) -> tuple[int, str, http.client.HTTPMessage]:
        line = http.client.HTTPSConnection("localhost", server.server_address[1], timeout=5, context=context)
        more = {"Content-Length": "0"} if method == "POST" else {}
        line.request(method, path, headers=more | headers)
        answer = line.getresponse()
        text = answer.read().decode()
        line.close()
        return answer.status, text, answer.headers

    yield asked
    server.shutdown()
    server.server_close()


def token(**claims: str) -> str:
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"Bearer e30.{part}.sig"


def test_all_runs_are_listed_the_newest_first(ask: Ask) -> None:
    status, text, _ = ask("GET", "/runs")
    assert status == 200 and text.index("tabular-1") < text.index("tabular-2")
    assert 'href="/runs/tabular-2"' in text and "Failed" in text and "<script" not in text


def test_one_run_is_drawn_with_what_may_be_done(ask: Ask) -> None:
    _, running, _ = ask("GET", "/runs/tabular-1")
    assert '/runs/tabular-1/stop"' in running and "/again" not in running and 'http-equiv="refresh"' in running
    _, failed, _ = ask("GET", "/runs/tabular-2")
    assert '/runs/tabular-2/again"' in failed and "/stop" not in failed and 'http-equiv="refresh"' not in failed
    assert "a &lt;gate&gt;" in failed and failed.count("<rect") == 5


def test_what_steps_said_is_shown_without_what_argo_said(ask: Ask, api: Api) -> None:
    status, text, _ = ask("GET", "/runs/tabular-1/log")
    late = "== late(0)\nno lines: GET log: 400 it is waiting to start\n"
    assert (status, text) == (200, f"== prepare(0)\nloss 0.1\n\n{late}")
    # What is kept is shown in place of what a pod says, and what is not there does not hide the rest.
    for at, name in (("0", "prepare(0)"), ("1", "a(0)")):
        key = f"steps/tabular-1/{name.partition('(')[0]}/main.log"
        outputs = {"artifacts": [{"name": "data"}, {"name": "main-logs", "s3": {"key": key}}]}
        api.held["tabular-1"]["status"]["nodes"][at] = {
            "displayName": name,
            "type": "Pod",
            "startedAt": at,
            "outputs": outputs,
        }
        api.held["tabular-1"]["status"]["nodes"][f"{at}-tries"] = {
            "displayName": name.partition("(")[0],
            "type": "Retry",
            "outputs": outputs,
        }
    _, text, _ = ask("GET", "/runs/tabular-1/log")
    assert text == f"== prepare(0)\nkept\n\n== a(0)\nno lines: the store of logs: NoSuchKey\n\n{late}"


def test_prometheus_is_told_how_old_the_last_look_at_runs_is(ask: Ask) -> None:
    status, text, _ = ask("GET", "/metrics")
    assert status == 200 and "apadana_portal_age_seconds 1.0" in text
    assert "\napadana_runs_age_seconds 0." in text and "# TYPE apadana_run_failed gauge" in text


def test_a_run_is_stopped_in_the_name_of_who_asked(ask: Ask, api: Api) -> None:
    status, _, head = ask("POST", "/runs/tabular-1/stop", Authorization=token(preferred_username="sina", sub="7"))
    assert (status, head["Location"]) == (303, "/runs/tabular-1")
    assert api.changed == [
        ("tabular-1", {"metadata": {"annotations": {BY: "sina"}}, "spec": {"shutdown": "Terminate"}})
    ]


def test_a_run_that_failed_goes_on_under_a_new_name(ask: Ask, api: Api) -> None:
    status, _, head = ask(
        "POST", "/runs/tabular-2/again", Authorization=token(sub="7"), Origin="https://portal", Host="portal"
    )
    (made,) = api.made
    assert (status, head["Location"]) == (303, f"/runs/{made['metadata']['name']}")
    assert made["metadata"]["annotations"][BY] == "7" and made["kind"] == "Workflow"


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "said"),
    [
        ("GET", "/runs/other", {}, 404, "no run other"),
        ("GET", "/runs/../secrets", {}, 404, "there are /"),
        ("GET", "/runs/UPPER", {}, 404, "there are /"),
        ("POST", "/runs/tabular-2/stop", {}, 409, "nothing to stop"),
        ("POST", "/runs/tabular-1/again", {}, 409, "only a run that failed"),
        ("POST", "/runs/other/stop", {}, 404, "no run other"),
        ("POST", "/runs/tabular-1", {}, 404, "there are /runs/NAME/stop"),
        ("POST", "/runs/tabular-1/stop", {"Origin": "https://elsewhere"}, 403, "only this page's own buttons"),
        ("POST", "/runs/tabular-1/stop", {"Content-Length": "3"}, 413, "Content-Length"),
        ("DELETE", "/runs/tabular-1", {}, 405, "DELETE is not taken"),
    ],
)
def test_what_can_t_be_is_refused_and_changes_nothing(
    ask: Ask, api: Api, method: str, path: str, headers: dict[str, str], status: int, said: str
) -> None:
    found, text, _ = ask(method, path, **headers)
    assert (found, api.made, api.changed) == (status, [], [])
    assert said in text


def test_without_the_api_server_the_other_pages_go_on(ask: Ask, api: Api) -> None:
    api.away = True
    assert ask("GET", "/runs")[0] == 502
    assert ask("GET", "/")[0] == 200


@pytest.mark.parametrize(
    "said", ["", "Bearer", "Bearer a.b", "Basic eDp5", "Bearer e30.bm8.x", "Bearer e30.e30.x", "Bearer a.W10.b"]
)
def test_who_asks_without_a_name_is_nobody(said: str) -> None:
    assert answering.who(said) == ""


def test_a_step_stands_right_of_all_that_it_waits_for() -> None:
    steps = [Step("a", ()), Step("b", ("a",)), Step("c", ()), Step("d", ("b", "c"))]
    assert [[step.name for step in column] for column in graph.columns(steps)] == [["a", "c"], ["b"], ["d"]]
    assert graph.drawn(steps).count("<path") == 3 and graph.drawn([]) == ""


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (65, "1 min 5 s"), (3725, "1 h 2 min")])
def test_how_long_it_took_is_told_in_words(seconds: float, said: str) -> None:
    assert graph.lasting(seconds) == said


def test_a_run_that_was_stopped_is_called_so() -> None:
    assert runs_page.state(read(workflow("Failed", shutdown="Terminate"), NOW)) == "Stopped"
