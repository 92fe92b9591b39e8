"""What the road understands of Pulumi and of the command that prepares it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from road import pulumi
from road.work import StepFailed


def test_exports_are_read_as_a_shell_reads_them() -> None:
    text = "a note\nexport PULUMI_HOME='/a place/home'\nexport PATH=/x:/y\n"
    assert pulumi.exports(text) == {"PULUMI_HOME": "/a place/home", "PATH": "/x:/y"}


@pytest.mark.parametrize(
    ("said", "again"),
    [
        ('API server: Patch "https://10.0.0.1:8443/apis/a/b?c=d": http2: client connection force closed', True),
        ('Get "https://10.0.0.1:8443/readyz": dial tcp 10.0.0.1:8443: connect: connection refused', True),
        ('Patch "https://10.0.0.1:8443/api": read tcp 10.0.0.9:1->10.0.0.1:8443: connection reset by peer', True),
        ('Post "https://10.0.0.1:8443/api": EOF', True),
        ('Put "https://10.0.0.1:8443/api": net/http: TLS handshake timeout', True),
        ("rpc error: etcdserver: request timed out", True),
        ('Deployment "x" is invalid: spec.replicas: Invalid value: -1', False),
        ('pods "x" is forbidden: User "y" cannot create', False),
        ("timed out waiting for the Deployment to be ready", False),
    ],
)
def test_only_what_was_cut_off_is_tried_again(said: str, again: bool) -> None:
    assert bool(pulumi.CUT_OFF.search(f"error: {said}")) is again


@pytest.mark.parametrize(
    ("said", "ours"),
    [
        ('Apply failed with 3 conflicts: conflicts with "pulumi-kubernetes-66787a4e":', True),
        ('Apply failed with 1 conflict: conflict with "pulumi-kubernetes-66787a4e": .spec.replicas', True),
        ('conflicts with "kubectl-edit":', False),
        ('conflicts with "pulumi-kubernetes-66787a4e": .spec\nconflicts with "helm":', False),
        ('conflict with "pulumi-kubernetes-66787a4e-of-mine": .spec', False),
        ("timed out waiting for the Deployment to be ready", False),
    ],
)
def test_only_what_pulumi_itself_has_made_is_taken_over(said: str, ours: bool) -> None:
    assert pulumi.made_by_pulumi(said) is ours


def test_errors_of_a_json_preview_are_found() -> None:
    document = {
        "diagnostics": [
            {"severity": "warning", "message": "not this"},
            {"severity": "error", "message": "apadana:kafka: 'replica' is not known\n\n  allowed: replicas"},
        ]
    }
    text = "warning: before the document\n" + json.dumps(document)
    assert pulumi.diagnostics(text) == ["apadana:kafka: 'replica' is not known", "  allowed: replicas"]
    assert pulumi.diagnostics("no document") == []


class Flaky(pulumi.Stack):
    """A stack whose `pulumi up` is cut off `times` times."""

    def __init__(self, times: int, said: str) -> None:
        self.name, self.settings, self.left, self.said = "lab-data", "settings.yaml", times, said
        self.work = SimpleNamespace(notes=[])  # type: ignore[assignment]  # all that is asked of it
        self.ran: list[str] = []

    def call(self, *argv: str, more: Mapping[str, str] | None = None) -> str:
        self.ran.append(argv[0])
        if argv[0] == "up" and self.left:
            self.left -= 1
            raise StepFailed([self.said], text=self.said)
        return ""


@pytest.mark.parametrize(
    ("times", "said", "ran", "fails"),
    [
        (0, "", ["up"], False),
        (2, "etcdserver: request timed out", ["up", "refresh", "up", "refresh", "up"], False),
        (9, "etcdserver: request timed out", ["up", *["refresh", "up"] * (pulumi.TRIES - 1)], True),
        (9, 'pods "x" is forbidden', ["up"], True),
    ],
)
def test_what_was_cut_off_goes_on_and_nothing_else(times: int, said: str, ran: list[str], fails: bool) -> None:
    stack = Flaky(times, said)
    with pytest.raises(StepFailed, match=said) if fails else nullcontext():
        stack.up()
    assert stack.ran == ran
    assert len(stack.work.notes) == ran.count("refresh")
