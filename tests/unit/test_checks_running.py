"""What is said of everything that runs, with one thing changed at a time."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from components.kit import contract, manifest
from components.kit.probing import Verdict
from validate.core import causes
from validate.suites.checks import running

FAIL, PASS, INVALID = Verdict.FAIL, Verdict.PASS, Verdict.INVALID
IMAGE = f"apadana.local/kv@sha256:{'1' * 64}"
WORD = "aB3-" * 8
BUNDLE = manifest.Bundle(
    "sha256:0", {"kv": IMAGE, "proxy": IMAGE}, {"kv": "1", "proxy": "v1.36.3"}, charts={"kv": "0.1.0"}
)
PLATFORM = contract.Platform.model_validate(
    {
        "site": "lab",
        "deployer": "pulumi",
        "namespace": "platform",
        "bundle_digest": f"sha256:{'0' * 64}",
        "components": [
            {
                "name": "kv",
                "version": "1",
                "mode": "managed",
                "workloads": [{"role": "door", "replicas": 2, "labels": {"app": "x"}, "namespace": "doors"}],
            }
        ],
    }
)


class Place:
    """A cluster as kubectl lists it: two hosts, one of them for cards, and what runs there."""

    def __init__(self) -> None:
        self.pod = _item("Pod", "kv-0", spec=_spec(), status={"phase": "Running"})
        self.guest = _item("Pod", "guest", spec=_spec(), status={"phase": "Running"})
        self.guest["spec"] |= {"nodeName": "gpu1", "tolerations": [{"operator": "Exists"}]}
        self.system = _item("Pod", "kube-proxy", "kube-system", labels={}, status={})
        self.system["spec"] = {
            "hostNetwork": True,
            "containers": [{"name": "proxy", "image": "apadana.local/proxy:v1.36.3"}],
        }
        self.workload = _item("StatefulSet", "kv")
        self.door = _item("Service", "door", "doors")
        self.settings = _item("ConfigMap", "kv-files", data={"a.conf": "user kv"})
        self.node = {
            "kind": "Node",
            "metadata": {"name": "gpu1"},
            "spec": {"taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]},
        }
        self.secret = _item("Secret", "kv-auth", data={"password": _encoded(WORD)})
        self.more: list[dict[str, Any]] = []

    @property
    def container(self) -> dict[str, Any]:
        found: dict[str, Any] = self.pod["spec"]["containers"][0]
        return found

    def judged(self) -> dict[str, tuple[Verdict, str]]:
        things = [self.pod, self.guest, self.system, self.workload, self.door, self.settings]
        seen = running.RunningObjects(PLATFORM, BUNDLE, [*things, self.node, *self.more], [self.secret])
        found = list(running.judge(seen))
        assert all(WORD not in f"{c.detail}{c.evidence}" for c in found), "a secret was told"
        return {c.name: (c.verdict, str(c.evidence.get("cause", ""))) for c in found}


def _item(kind: str, name: str, space: str = "platform", **more: Any) -> dict[str, Any]:
    labels = more.pop("labels", {"app.kubernetes.io/part-of": "apadana", "app.kubernetes.io/name": "kv"})
    return {"kind": kind, "metadata": {"name": name, "namespace": space, "labels": labels}, "spec": {}, **more}


def _spec() -> dict[str, Any]:
    amounts = {"cpu": "1", "memory": "1Mi"}
    container = {
        "name": "server",
        "image": IMAGE,
        "resources": {"requests": dict(amounts), "limits": dict(amounts)},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"nodeName": "h1", "securityContext": security, "containers": [container], "volumes": []}


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


KEY = "-----BEGIN " + "PRIVATE KEY-----"
TOKEN = "Zy9_" * 15
CERTIFICATE = f"-----BEGIN CERTIFICATE-----\n{WORD[::-1]}\n-----END CERTIFICATE-----"
Change = Callable[[Place], object]
RAISED: Mapping[str, Change] = {
    "the host's network": lambda p: p.pod["spec"].update(hostNetwork=True),
    "the host's processes": lambda p: p.pod["spec"].update(hostPID=True),
    "a path of the host": lambda p: p.pod["spec"]["volumes"].append({"name": "x", "hostPath": {"path": "/etc"}}),
    "privileged": lambda p: p.container["securityContext"].update(privileged=True),
    "nothing said of privileges": lambda p: p.container["securityContext"].pop("allowPrivilegeEscalation"),
    "root": lambda p: p.pod["spec"]["securityContext"].pop("runAsNonRoot"),
    "root, in the container alone": lambda p: p.container["securityContext"].update(runAsNonRoot=False),
    "capabilities kept": lambda p: p.container["securityContext"].pop("capabilities"),
    "a capability more": lambda p: p.container["securityContext"]["capabilities"].update(add=["NET_RAW"]),
    "any system call": lambda p: p.pod["spec"]["securityContext"].pop("seccompProfile"),
    "before it starts": lambda p: p.pod["spec"].update(
        initContainers=[{**p.container, "securityContext": {"privileged": True}}]
    ),
}
CHANGES: Mapping[str, tuple[Change, str, str]] = {
    **{n: (change, running.PRIVILEGE, causes.RAISED_PRIVILEGE) for n, change in RAISED.items()},
    "an image by its name": (
        lambda p: p.container.update(image="apadana.local/kv:1"),
        running.IMAGES,
        causes.FOREIGN_IMAGE,
    ),
    "an image of elsewhere": (
        lambda p: p.container.update(image="elsewhere/kv@sha256:1"),
        running.IMAGES,
        causes.FOREIGN_IMAGE,
    ),
    "the latest of the system's": (
        lambda p: p.system["spec"]["containers"][0].update(image="apadana.local/proxy:latest"),
        running.IMAGES,
        causes.FOREIGN_IMAGE,
    ),
    "no limit": (lambda p: p.container["resources"]["limits"].pop("memory"), running.SHARES, causes.NO_SHARE),
    "no resources": (lambda p: p.container.pop("resources"), running.SHARES, causes.NO_SHARE),
    "an object elsewhere": (
        lambda p: p.door["metadata"].update(namespace="default"),
        running.HOME,
        causes.OUT_OF_PLACE,
    ),
    "a workload of no chart": (
        lambda p: p.workload["metadata"]["labels"].update({"app.kubernetes.io/name": "byhand"}),
        running.CHARTS,
        causes.OUT_OF_PLACE,
    ),
    "a password in the settings": (
        lambda p: p.settings["data"].update({"b.conf": f"pass={WORD}\n"}),
        running.SECRETS,
        causes.EXPOSED,
    ),
    "a password on a line of its own": (
        lambda p: p.settings["data"].update({"b.conf": f"users:\n{WORD}\n"}),
        running.SECRETS,
        causes.EXPOSED,
    ),
    "a password in what was applied": (
        lambda p: p.pod["metadata"].update(annotations={"last": json.dumps({"x": f"\n{WORD}\n"})}),
        running.SECRETS,
        causes.EXPOSED,
    ),
    "a token that the client gave": (
        lambda p: (p.secret["data"].update(token=_encoded(f"{TOKEN}\n")), p.settings["data"].update({"b.conf": TOKEN})),
        running.SECRETS,
        causes.EXPOSED,
    ),
    "a line of a private key": (
        lambda p: (
            p.secret["data"].update({"tls.key": _encoded(f"{KEY}\n{TOKEN}\n-----END {KEY[11:]}\n")}),
            p.settings["data"].update({"b.conf": TOKEN}),
        ),
        running.SECRETS,
        causes.EXPOSED,
    ),
    "a password among the arguments": (
        lambda p: p.container.update(args=["--password", WORD]),
        running.SECRETS,
        causes.EXPOSED,
    ),
    "a private key in the settings": (
        lambda p: p.settings["data"].update({"key": KEY}),
        running.SECRETS,
        causes.EXPOSED,
    ),
    "ordinary work on cards": (lambda p: p.pod["spec"].update(nodeName="gpu1"), running.POOL, causes.OUT_OF_PLACE),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_named_and_nothing_else(name: str) -> None:
    change, check, cause = CHANGES[name]
    place = Place()
    change(place)
    said = place.judged()
    assert said.pop(check) == (FAIL, cause)
    assert {verdict for verdict, _ in said.values()} == {PASS}


def _gone(place: Place) -> None:
    """What has ended, or is going, may be of an older bundle."""
    ended = {**place.pod, "status": {"phase": "Succeeded"}, "spec": {**_spec(), "hostPID": True}}
    going = {**place.pod, "metadata": {**place.pod["metadata"], "deletionTimestamp": "now"}}
    going["spec"] = {**_spec(), "hostPID": True}
    place.more += [ended, going]


SAME: Mapping[str, Change] = {
    "as made": lambda p: None,
    "what has ended": _gone,
    "root is refused by the container itself": lambda p: (
        p.pod["spec"]["securityContext"].pop("runAsNonRoot"),
        p.container["securityContext"].update(runAsNonRoot=True),
    ),
    "a low port": lambda p: p.container["securityContext"]["capabilities"].update(add=["NET_BIND_SERVICE"]),
    "somebody else's object elsewhere": lambda p: p.door["metadata"].update(namespace="default", labels={}),
    "a certificate is for everybody": lambda p: (
        p.secret["data"].update({"tls.crt": _encoded(CERTIFICATE)}),
        p.settings["data"].update({"ca.crt": CERTIFICATE}),
    ),
    "a setting's long name": lambda p: (
        p.secret["data"].update({"realm.json": _encoded('{"oauth2DeviceAuthorizationGrantEnabled": true}')}),
        p.settings["data"].update({"accounts.py": "oauth2DeviceAuthorizationGrantEnabled"}),
    ),
    "a name that is long": lambda p: (
        p.secret["data"].update(user=_encoded("a-user-with-a-very-long-name-1")),
        p.settings["data"].update(user="a-user-with-a-very-long-name-1"),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_what_is_well_passes(name: str) -> None:
    place = Place()
    SAME[name](place)
    said = place.judged()
    assert tuple(said) == running.NAMES
    assert {verdict for verdict, _ in said.values()} == {PASS}


def test_a_component_without_a_chart_is_named() -> None:
    bare = manifest.Bundle("sha256:0", BUNDLE.images, BUNDLE.versions, charts={})
    place = Place()
    check = running.charts(running.RunningObjects(PLATFORM, bare, [place.workload], []))
    assert check.verdict is FAIL
    assert "no chart of kv" in check.detail


def test_what_can_not_be_seen_is_not_called_well() -> None:
    place = Place()
    place.secret["data"] = {"user": _encoded("kv")}
    assert place.judged()[running.SECRETS] == (INVALID, "")
    (check,) = running.judge(running.RunningObjects(PLATFORM, BUNDLE, [place.system], []))
    assert check.verdict is INVALID


def test_a_site_without_cards_is_not_asked_for_a_pool() -> None:
    place = Place()
    place.node["spec"] = {}
    assert running.POOL not in place.judged()
