"""Prometheus asks a real API server how it and its etcd are: with the rights of the cluster's half, and no more."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from components.kit.discovery import COMPONENTS
from tests import debian_programs
from tests.ports import HOST, free_port
from tests.rendered import objects, test_observe
from tests.rendered.apiserver import ApiServer
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.rendered
ROOM, SPACE = "prometheus", test_observe.SITE.namespace
LABEL = "node-role.kubernetes.io/control-plane"
FIRES = 'count(ALERTS{alertstate="firing",alertname="%s"})'


def token_of(server: ApiServer) -> str:
    """The room's own."""
    path = f"/api/v1/namespaces/{SPACE}/serviceaccounts/{ROOM}/token"
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    status, answer = server.call("POST", path, asked)
    assert status == 201, answer
    return str(json.loads(answer)["status"]["token"])


class Watching:
    """Prometheus with one of the chart's own jobs, at a second's interval."""

    def __init__(self, folder: Path, server: ApiServer, name: str = "api-servers", beside: int = 9115) -> None:
        """`beside`: the port of what looks from outside for it."""
        self.folder, self.server, self.port = folder, server, free_port()
        self.name, self.beside = name, beside
        (folder / "prometheus.yml").write_text(self._settings())
        program = debian_programs.command(debian_programs.root(f"image/{ROOM}"), "bin/prometheus", data=True)
        words = (
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={HOST}:{self.port}",
        )
        with (folder / "prometheus.log").open("wb") as log:
            self.process = subprocess.Popen([*program, *words], stdout=log, stderr=log)

    def _settings(self) -> str:
        text = test_observe.files(test_observe.render(ROOM), f"{ROOM}-files")["prometheus.yml"]
        told = yaml.safe_load(text)
        (job,) = [each for each in told["scrape_configs"] if each["job_name"] == self.name]
        token = {"credentials_file": str(self._token())}
        ca = {"ca_file": str(self.authority()), "server_name": "kubernetes.default.svc"}
        # In a pod it finds the API by itself, and API servers listen on one port.
        api = {"api_server": f"https://{HOST}:{self.server.port}", "authorization": token, "tls_config": ca}
        job["kubernetes_sd_configs"] = [each | api for each in job["kubernetes_sd_configs"]]
        if "tls_config" in job:
            assert job["tls_config"]["server_name"] == ca["server_name"]
            job |= {"authorization": token, "tls_config": ca}
        job |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
        found = yaml.safe_dump({"scrape_configs": [job], "rule_files": [str(self._rules())]})
        short = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        found = found.replace(":6443", f":{self.server.port}").replace("127.0.0.1:9115", f"{HOST}:{self.beside}")
        return yaml.safe_dump({"global": short}) + found

    def _rules(self) -> Path:
        content = yaml.safe_load((COMPONENTS / "cluster" / "alerts.yaml").read_text())
        for rule in (rule for group in content["groups"] for rule in group["rules"]):
            rule["for"] = "2s"
        made = self.folder / "cluster.yml"
        made.write_text(yaml.safe_dump(content))
        return made

    def _token(self) -> Path:
        file = self.folder / "token"
        file.write_text(token_of(self.server))
        return file

    def authority(self) -> Path:
        return self.server.folder / "certs" / "apiserver.crt"

    def query(self, text: str) -> dict[str, float]:
        """Values by the label `name`, or by nothing."""
        url = f"http://{HOST}:{self.port}/api/v1/query?{urlencode({'query': text})}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            found = json.load(answer)["data"]["result"]
        return {each["metric"].get("name", ""): float(each["value"][1]) for each in found}

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    made = ApiServer(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def watching(server: ApiServer, tmp_path: Path) -> Iterator[Watching]:
    """One host is a control plane, the other one is not."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ROOM, "namespace": SPACE}}
    server.make({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    for each in (account, *objects.halved(ROOM, test_observe.LAB.rooms[ROOM], test_observe.SITE)):
        server.make(each)
    for name, labels in (("cp1", {LABEL: ""}), ("w1", {})):
        server.make({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}})
        there: dict[str, Any] = {
            "addresses": [{"type": "InternalIP", "address": HOST}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        }
        status, answer = server.call("PATCH", f"/api/v1/nodes/{name}/status", {"status": there})
        assert status == 200, answer
    try:
        made = Watching(tmp_path, server)
    except debian_programs.NotHereError as error:
        pytest.skip(str(error))
    yield made
    made.stop()


def until(what: str, look: Callable[[], bool], seconds: float = 120) -> None:
    wait_for(what, lambda: look() or None, timeout=seconds, swallow=(OSError, KeyError))


def test_what_breaks_below_an_api_server_is_told_and_what_is_kept_is_little(
    server: ApiServer, watching: Watching
) -> None:
    def asked(text: str) -> dict[str, float]:
        # As its kubelet and the load balancers do every few seconds: what is shown is what was found then.
        server.call("GET", "/readyz")
        return watching.query(text)

    def fires(alert: str) -> bool:
        return asked(FIRES % alert) == {"": 1}

    until("etcd's health", lambda: asked('kubernetes_healthcheck{name="etcd"}') == {"etcd": 1})
    assert watching.query("count(up)") == {"": 1}  # the other host is no control plane
    shown, kept = (watching.query(f"max(scrape_samples_{w})")[""] for w in ("scraped", "post_metric_relabeling"))
    assert set(watching.query("kubernetes_healthcheck")) == {"etcd", "etcd-readiness", "informer-sync", "ping"}
    assert set(watching.query("kubernetes_healthchecks_total")) == {"etcd"}
    assert kept <= 7 and shown < 200  # its four checks, and how many of etcd's went how
    assert watching.query("count(ALERTS)") == {}
    etcd, api = server.processes
    etcd.kill()
    etcd.wait()
    for alert in ("EtcdMemberSilent", "EtcdHasNoLeader"):  # the only one that there is
        until(f"the alert {alert}", partial(fires, alert))
    failed = 'kubernetes_healthchecks_total{name="etcd",status="error"}'
    until("etcd's failures to be counted", lambda: asked(failed).get("etcd", 0) > 0)
    assert watching.query("up") == {"": 1}
    api.kill()
    api.wait()
    until("the alert of the API server", lambda: watching.query(FIRES % "ApiServerDown") == {"": 1})


def test_the_right_is_for_that_page_alone(server: ApiServer, watching: Watching) -> None:
    token = (watching.folder / "token").read_text()
    until("the grant", lambda: server.call("GET", "/metrics/slis", token=token)[0] == 200)
    for path in ("/metrics", "/api/v1/secrets", "/api/v1/nodes/cp1/proxy/metrics", "/logs", "/api/v1/pods"):
        assert server.call("GET", path, token=token)[0] == 403, path
    assert server.call("GET", "/api/v1/nodes", token=token)[0] == 200
    status, answer = server.call("PATCH", "/api/v1/nodes/cp1", {"metadata": {"labels": {"x": "y"}}}, token=token)
    assert status == 403, answer
    small, large = (len(server.call("GET", page)[1]) for page in ("/metrics/slis", "/metrics"))
    assert 50 * small < large
