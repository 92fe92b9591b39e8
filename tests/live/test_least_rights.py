"""The data services need nothing but the built-in role `admin` in one namespace.

The chart of one of them (Valkey) is installed for real by `helm install`, on the volumes `scratch`
that the lab sets aside for trials; what the stacks' installer did is read from the audit log.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.kit import manifest, naming, pki
from components.kit.settings import SiteFacts
from components.redis.settings import Settings, values
from tests import lab, pages
from tests.api_audit import Findings, judge
from tests.repo import charts
from validate.ground.kubectl import Cluster, wait_for
from validate.ground.site import REPOSITORY

pytestmark = pytest.mark.live
ACCOUNT = "apadana-installer"  # the name that the stacks' own account has too
PREFIX = "apadana-trial-"
RBAC = "rbac.authorization.k8s.io"
USERS = ("admin", "health", "replication", "sentinel", "probe")
# What Kubernetes itself puts into every namespace, and what this test made for its account.
GIVEN = {
    "ConfigMap/kube-root-ca.crt",
    "ServiceAccount/default",
    f"ServiceAccount/{ACCOUNT}",
    f"RoleBinding/{ACCOUNT}",
    "Secret/redis-auth",
    "Secret/redis-tls",
}


@dataclass(frozen=True)
class Trial:
    """A scratch namespace; `admin` is the cluster's, `tenant` the account with one RoleBinding."""

    namespace: str
    admin: Cluster
    tenant: Cluster

    def helm(self, *words: str, stdin: str = "") -> lab.Done:
        given = {"KUBECONFIG": str(self.tenant.kubeconfig)}
        command = (str(charts.helm()), *words, "--namespace", self.namespace)
        return lab.run(*command, stdin=stdin, timeout=900, environment=given)

    def objects(self) -> set[str]:
        """Everything in the namespace that can be listed, but for what tells of the past."""
        kinds = self.admin.run("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
        passing = ("events", "metrics.k8s.io", "events.events.k8s.io")
        wanted = [kind for kind in kinds if not kind.endswith(passing)]
        items = self.admin.json("-n", self.namespace, "get", ",".join(wanted), timeout=180)["items"]
        return {f"{item['kind']}/{item['metadata']['name']}" for item in items}


def account(namespace: str) -> list[dict[str, Any]]:
    meta = {"name": ACCOUNT, "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", **meta}],
        },
    ]


def kubeconfig(admin: Cluster, token: str, file: Path) -> Path:
    known = yaml.safe_load(admin.kubeconfig.read_text())
    context = {"cluster": known["clusters"][0]["name"], "user": ACCOUNT}
    file.touch(mode=0o600)
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": known["clusters"],
                "users": [{"name": ACCOUNT, "user": {"token": token}}],
                "contexts": [{"name": ACCOUNT, "context": context}],
                "current-context": ACCOUNT,
            }
        )
    )
    return file


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    admin, name = lab.cluster(), f"{PREFIX}{secrets.token_hex(3)}"
    free_volumes(admin)
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    meta = {"name": name, "labels": restricted}
    try:
        admin.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": meta}, *account(name))
        token = admin.run("-n", name, "create", "token", ACCOUNT, "--duration=1h").strip()
        file = kubeconfig(admin, token, tmp_path_factory.mktemp("trial") / "kubeconfig")
        yield Trial(name, admin, replace(admin, kubeconfig=file))
    finally:
        admin.run("delete", "namespace", name, "--ignore-not-found", "--wait=true", timeout=120)
        free_volumes(admin)


def free_volumes(admin: Cluster) -> None:
    """Volumes that a trial has left behind: emptied on their hosts, then offered again."""
    for volume in admin.json("get", "persistentvolumes")["items"]:
        claim = volume["spec"].get("claimRef") or {}
        if volume["status"]["phase"] != "Released" or not claim["namespace"].startswith(PREFIX):
            continue
        path = volume["spec"]["local"]["path"]
        terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
        host = terms[0]["matchExpressions"][0]["values"][0]
        # lost+found belongs to the file system.
        lab.on_host(host, f"find {path} -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf {{}} +")
        patch = '[{"op": "remove", "path": "/spec/claimRef"}]'
        admin.run("patch", "pv", volume["metadata"]["name"], "--type=json", f"--patch={patch}")


def wanted(trial: Trial) -> str:
    """Values as the stack renders them, as small as the lab's own, for the trial's namespace."""
    images = manifest.read(lab.found().bundle).images
    site = SiteFacts(lab.SITE, trial.namespace, images=images)
    settings = pages.settings().rooms["redis"]
    assert isinstance(settings, Settings)
    return json.dumps(values(settings, site))


def given_secrets(trial: Trial, folder: Path) -> list[dict[str, Any]]:
    """What a tenant brings along: users and a certificate, here of a CA for the trial alone."""
    site = SiteFacts(lab.SITE, trial.namespace)
    pki.ensure_ca(folder, lab.SITE)
    leaf = pki.ensure_leaf(folder, "redis", naming.server_dns_names("redis", 3, site), ["127.0.0.1"])
    auth = {f"{user}-password": secrets.token_urlsafe(24) for user in USERS}
    kinds = (("redis-auth", auth, "Opaque"), ("redis-tls", leaf.secret_data(), "kubernetes.io/tls"))
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": kind,
            "metadata": {"name": name, "namespace": trial.namespace},
            "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
        }
        for name, data, kind in kinds
    ]


def ready(trial: Trial) -> bool | None:
    found = trial.tenant.json("-n", trial.namespace, "get", "statefulset", "redis")
    wants, has = found["spec"]["replicas"], found["status"].get("readyReplicas", 0)
    return True if wants == has else None


def test_the_account_may_do_nothing_outside_its_namespace(trial: Trial) -> None:
    wishes = (("create", "namespaces", ""), ("list", "nodes", ""), ("create", "clusterroles", RBAC))
    for verb, resource, group in wishes:
        wish = {"verb": verb, "resource": resource, "group": group}
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": wish},
        }
        # Validation would look for custom resources first, which the account may not do either.
        asked = ("create", "--validate=false", "-f", "-", "-o", "json")
        answer = json.loads(trial.tenant.run(*asked, stdin=json.dumps(review).encode()))
        assert answer["status"]["allowed"] is False, wish


@pytest.mark.campaign
def test_a_chart_is_installed_gets_ready_and_leaves_nothing(trial: Trial, tmp_path: Path) -> None:
    trial.tenant.apply(*given_secrets(trial, tmp_path))
    chart = str(REPOSITORY / "components" / "redis" / "chart")
    done = trial.helm("install", "redis", chart, "--values", "-", stdin=wanted(trial))
    assert done.returncode == 0, lab.told(done)
    wait_for("the three members of the chart", lambda: ready(trial), timeout=480, every=2)
    listed = trial.helm("list", "--deployed", "--short")
    assert listed.stdout.split() == ["redis"]
    done = trial.helm("uninstall", "redis", "--wait", "--timeout", "3m")
    assert done.returncode == 0, lab.told(done)
    # By design data outlives the release: whoever may install also decides when it goes.
    claims = {f"PersistentVolumeClaim/data-redis-{index}" for index in range(3)}
    left = wait_for(
        "everything but the claims to be gone",
        lambda: found if not (found := trial.objects()) - GIVEN - claims else None,
        timeout=240,
    )
    assert left >= claims
    trial.tenant.run("-n", trial.namespace, "delete", "pvc", "--all", timeout=240)
    assert trial.objects() - GIVEN == set()


def audit_log(account: str) -> Findings:
    lines: list[str] = []
    for host in lab.control_planes():
        grep = f"grep -h '{account}\"' /var/log/kubernetes/audit*.log || test $? = 1\n"
        lines += lab.on_host(host, grep, timeout=120).splitlines()
    return judge(lines, account)


def lost_events(host: str) -> float:
    """Events that an API server could not write down; it counts since its start."""
    kubectl = "kubectl --kubeconfig=/etc/kubernetes/admin.conf --server=https://127.0.0.1:6443"
    count = f"{kubectl} get --raw /metrics | grep ^apiserver_audit_ || test $? = 1\n"
    rows = [line.split() for line in lab.on_host(host, count).splitlines()]
    assert any(row[0].startswith("apiserver_audit_event_total") for row in rows), host
    return sum(float(row[-1]) for row in rows if row[0].startswith("apiserver_audit_error_total"))


def test_the_audit_log_is_complete() -> None:
    assert {host: lost_events(host) for host in lab.control_planes()} == dict.fromkeys(lab.control_planes(), 0.0)
    state = json.loads(lab.Stack("data")("stack", "export").stdout)["deployment"]["resources"]
    objects = [r for r in state if r["type"].startswith("kubernetes:") and r.get("custom")]
    found = audit_log(f":apadana-system:{ACCOUNT}")
    assert found.writes >= len(objects), f"{len(objects)} objects were made by {found.writes} writes"


@pytest.mark.parametrize("installer", ["of the stacks", pytest.param("of this trial", marks=pytest.mark.campaign)])
def test_nothing_was_denied_and_nothing_cluster_scoped_was_written(trial: Trial, installer: str) -> None:
    home = "apadana-system" if installer == "of the stacks" else trial.namespace
    found = audit_log(f":{home}:{ACCOUNT}")
    assert found.writes > 0
    assert found.denied == []
    assert found.cluster_scoped == []
