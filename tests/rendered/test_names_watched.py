"""CoreDNS and usage figures, as Prometheus really sees them: a real CoreDNS, a real API server that says where it runs
and what hosts use, and what looks from outside; with the rights of the cluster's half, and no more."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.kit.servers import NotHereError, built
from tests import debian_programs
from tests.engine.built import built as program
from tests.ports import HOST, free_port
from tests.rendered import objects, test_observe
from tests.rendered.apiserver import ApiServer
from tests.rendered.test_control_planes_watched import FIRES, LABEL, ROOM, SPACE, Watching, token_of, until

pytestmark = pytest.mark.rendered
SYSTEM = "kube-system"
# As roles/network has it: names of pods and services, those of pages, and nobody to ask for any other.
COREFILE = """\
.:{port} {{
  bind {host}
  errors
  kubernetes cluster.local {{
    kubeconfig {kubeconfig}
  }}
  template IN A lab.internal {{
    answer "{{{{ .Name }}}} 30 IN A 10.0.0.1"
  }}
  prometheus {host}:{metrics}
  cache 5
}}
"""
NODES = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "nodes.metrics.k8s.io",
        "annotations": {"api-approved.kubernetes.io": "unapproved, of a test"},
    },
    "spec": {
        "group": "metrics.k8s.io",
        "scope": "Cluster",
        "names": {"plural": "nodes", "kind": "NodeMetrics"},
        "versions": [
            {
                "name": "v1beta1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """With the room's account and rights, one control plane, and the account of pods."""
    made = ApiServer(tmp_path_factory.mktemp("api"))
    for space, name in ((SPACE, ROOM), (SYSTEM, "default")):
        made.make({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": space}})
        made.make({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": space}})
    for each in objects.halved(ROOM, test_observe.LAB.rooms[ROOM], test_observe.SITE):
        made.make(each)
    made.make({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "cp1", "labels": {LABEL: ""}}})
    there: dict[str, Any] = {"addresses": [{"type": "InternalIP", "address": HOST}]}
    there |= {"daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}}
    assert made.call("PATCH", "/api/v1/nodes/cp1/status", {"status": there})[0] == 200
    yield made
    made.stop()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Processes that end with the test."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> subprocess.Popen[bytes]:
        log = (tmp_path / f"{Path(command[0]).name}.out").open("wb")
        running.append(subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdout=log, stderr=log))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def watch(server: ApiServer, tmp_path: Path) -> Iterator[Callable[..., Watching]]:
    made: list[Watching] = []

    def begin(name: str, beside: int = 9115) -> Watching:
        try:
            made.append(Watching(tmp_path, server, name, beside))
        except debian_programs.NotHereError as error:
            pytest.skip(str(error))
        return made[-1]

    yield begin
    for each in made:
        each.stop()


def ask(port: int, name: str) -> int:
    """The answer's code."""
    parts = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + parts + b"\0" + struct.pack(">HH", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        asked.settimeout(5)
        asked.sendto(question, (HOST, port))
        return asked.recv(512)[3] & 15


def coredns(server: ApiServer, folder: Path, start: Callable[..., subprocess.Popen[bytes]]) -> tuple[int, Any]:
    """Its port for names, and the process; its pod is one of two of that label, as its host would tell the API."""
    port, metrics = free_port(), free_port()
    kubeconfig = server.kubeconfig(folder / "dns.conf")
    told = COREFILE.format(host=HOST, port=port, metrics=metrics, kubeconfig=kubeconfig)
    (folder / "Corefile").write_text(told)
    container: dict[str, Any] = {"name": "coredns", "image": "coredns"}
    container |= {"ports": [{"name": "dns-tcp", "containerPort": 53}, {"name": "metrics", "containerPort": metrics}]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "coredns-1", "namespace": SYSTEM, "labels": {"k8s-app": "kube-dns"}},
        "spec": {"nodeName": "cp1", "containers": [container], "automountServiceAccountToken": False},
    }
    server.make(pod)
    status = {"phase": "Running", "podIP": HOST, "podIPs": [{"ip": HOST}]}
    code, answer = server.call("PATCH", f"/api/v1/namespaces/{SYSTEM}/pods/coredns-1/status", {"status": status})
    assert code == 200, answer
    return port, start(str(built("coredns")), "-conf", str(folder / "Corefile"))


def test_what_coredns_tells_of_its_answers_comes_in_and_its_end_is_told(
    server: ApiServer, tmp_path: Path, started: Callable[..., Any], watch: Callable[..., Watching]
) -> None:
    try:
        port, process = coredns(server, tmp_path, started)
    except NotHereError as error:
        pytest.skip(str(error))
    watching = watch("coredns")
    until("CoreDNS to be seen", lambda: watching.query('up{instance="cp1"}') == {"": 1})
    assert watching.query("count(up)") == {"": 1}  # of its doors the one for figures
    until("a name of the cluster", lambda: ask(port, "kubernetes.default.svc.cluster.local") == 0)
    assert (ask(port, "pages.lab.internal"), ask(port, "example.org")) == (0, 2)

    def counted(more: str) -> float:
        return watching.query(f"sum(coredns_dns_responses_total{{{more}}})").get("", 0)

    # A name of outside that nobody knows is no failure of CoreDNS: nobody wrote that answer.
    until(
        "the answers", lambda: counted('rcode="NOERROR",plugin!=""') >= 2 and counted('rcode="SERVFAIL",plugin=""') >= 1
    )
    took = "coredns_dns_request_duration_seconds"
    buckets = watching.query(f"sum({took}_bucket)"), watching.query(f"sum({took}_count)")
    assert buckets[0] == buckets[1] != {}
    assert set(watching.query("coredns_panics_total")) == set(
        watching.query("coredns_forward_healthcheck_broken_total")
    )
    kept = watching.query("max(scrape_samples_post_metric_relabeling)")[""]
    assert kept < 15 < watching.query("max(scrape_samples_scraped)")[""] / 5
    process.kill()
    process.wait()
    until("the alert", lambda: watching.query(FIRES % "CoreDnsDown") == {"": 1})


def test_usage_figures_count_when_there_is_one_and_not_when_somebody_answers(
    server: ApiServer, tmp_path: Path, started: Callable[..., Any], watch: Callable[..., Watching]
) -> None:
    port = free_port()
    watching = watch("usage-figures", port)
    text = test_observe.files(test_observe.render(ROOM), f"{ROOM}-files")["certificates.yml"]
    text = text.replace(test_observe.TOKEN, str(watching.folder / "token"))
    text = text.replace(test_observe.TOKEN.replace("token", "ca.crt"), str(watching.authority()))
    (tmp_path / "certificates.yml").write_text(text)
    exporter = str(program("bin/*/blackbox-exporter"))
    started(exporter, f"--config.file={tmp_path / 'certificates.yml'}", f"--web.listen-address={HOST}:{port}")
    served = f'probe_success{{instance="cp1",job="{watching.name}"}}'
    until("nobody to serve them", lambda: watching.query(served) == {"": 0})
    until("the alert", lambda: watching.query(FIRES % "UsageFiguresMissing") == {"": 1})
    # A definition serves the same paths as metrics-server's, to whoever has the same right.
    server.install([NODES])
    token = (watching.folder / "token").read_text()
    path = "/apis/metrics.k8s.io/v1beta1/nodes"
    until("the list", lambda: server.call("GET", path, token=token)[0] == 200)
    assert json.loads(server.call("GET", path, token=token)[1])["items"] == []
    assert watching.query(served) == {"": 0}
    figures = {"apiVersion": "metrics.k8s.io/v1beta1", "kind": "NodeMetrics", "metadata": {"name": "cp1"}}
    status, answer = server.call("POST", path, figures | {"usage": {"cpu": "1", "memory": "1Gi"}})
    assert status == 201, answer
    until("a figure", lambda: watching.query(served) == {"": 1})
    until("the alert to end", lambda: watching.query(FIRES % "UsageFiguresMissing") == {})
    assert server.call("POST", path, figures, token=token)[0] == 403


def test_pods_are_read_where_coredns_runs_and_nowhere_else(server: ApiServer) -> None:
    token = token_of(server)
    until("the grant", lambda: server.call("GET", f"/api/v1/namespaces/{SYSTEM}/pods", token=token)[0] == 200)
    for path in (
        *("/api/v1/pods", f"/api/v1/namespaces/{SPACE}/pods", f"/api/v1/namespaces/{SYSTEM}/secrets"),
        *(f"/api/v1/namespaces/{SYSTEM}/pods/x/log", f"/api/v1/namespaces/{SYSTEM}/configmaps"),
    ):
        assert server.call("GET", path, token=token)[0] == 403, path
