"""Kubernetes' own syntax, and what is told where a setting does not keep to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from components.kit import syntax
from components.kit.loading import load
from components.kit.mistakes import Mistake, SettingsError
from components.kit.settings import ComponentSettings, Resources


def takes(kind: Any, value: object) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (
            syntax.Namespace,
            ["platform", "a-1"],
            [
                "kube-system",
                "kube-public",
                "kube-node-lease",
                "kube-x",
                "kube",
                "default",
                "Platform",
                "a.b",
                "1e3",
                "true",
                "y",
                "a" * 64,
                "a\n",
            ],
        ),
        (syntax.ObjectName, ["a", "a.b", "2024-db"], ["A", "", "a/b", "-a", "2024-01-01", "0x10"]),
        (syntax.NodeName, ["gpu1", "a.b", "1"], ["gpu 1", "a_b", "GPU1", "a" * 64]),
        (syntax.LabelKey, ["a", "a.io/B_c", "nvidia.com/gpu"], ["", "a/", "/a", "A.io/b", "a/b/"]),
        (syntax.LabelValue, ["", "rtx-4090", "A_b.c", "true"], ["-a", "a b", "a" * 64, "ä", "a/b"]),
        (syntax.ClusterDomain, ["cluster.local", "k8s"], ["cluster.local.", ".a", "a..b"]),
        (syntax.Cidr, ["10.0.0.0/8", "0.0.0.0/0", "fd00::/8"], ["10.0.0.1/8", "10.0.0.0", "a/8"]),
        (syntax.Port, [1, 65535], [0, 65536, -1, "http"]),
        (syntax.Host, ["db.client", "10.0.0.1"], ["10.0.0.256", "a.1", "db client", "[::1]", "DB"]),
        (
            syntax.JavaOption,
            ["-XX:+UseSerialGC", "-Da.b=c"],
            [
                "-Xmx9g",
                "-Xms1g",
                "-Da=b c",
                "-jar",
                "-XX:MaxRAMPercentage=90",
                "-XX:MaxHeapSize=9g",
                "-Da=$(id)",
                "-Da=`id`",
                "-Da=b;c",
            ],
        ),
        (syntax.Line, ["the client's own"], ["a\nb", " a", "", "a\x00", "\u202ea"]),
    ],
)
def test_what_is_taken(kind: Any, good: list[object], bad: list[object]) -> None:
    assert [value for value in good if not takes(kind, value)] == []
    assert [value for value in bad if takes(kind, value)] == []


def mistakes(room: Mapping[str, object]) -> tuple[Mistake, ...]:
    config = {"apadana:site": "x", "apadana:store": room}
    with pytest.raises(SettingsError) as caught:
        load("x-data", config, {"store": ComponentSettings})
    return caught.value.mistakes


@pytest.mark.parametrize(
    ("address", "allowed", "action"),
    [
        ("db.client", "a port is needed", "behind a colon"),
        ("db.client:", "a port is needed", "behind a colon"),
        ("https://db.client:1", "without a scheme", "remove `https://`"),
        ("db client:1", "no space", "remove the space"),
        ("db.client: 1", "no space", "remove the space"),
        ("db.client:0", "from 1 to 65535", "correct the port"),
        ("db.client:65536", "from 1 to 65535", "correct the port"),
        ("db.client:http", "from 1 to 65535", "correct the port"),
        ("db.client:1/path", "from 1 to 65535", "correct the port"),
        ("[fd00::1]:5432", "no IPv6 address", "give a DNS name"),
        ("fd00::1", "no IPv6 address", "give a DNS name"),
        ("a:1,b:1", "host:port", "one list item for each"),
        ("10.0.0.300:1", "an IPv4 address", "correct the host"),
        ("Db.client:1", "in lower case", "correct the host"),
        ("user@db.client:1", "a DNS name", "correct the host"),
    ],
)
def test_an_external_address(address: str, allowed: str, action: str) -> None:
    given = {"mode": "external", "external": {"addresses": [address], "secret_ref": "given"}}
    (mistake,) = mistakes(given)
    assert mistake.key == "store.external.addresses.0"
    assert mistake.seen == address
    assert allowed in mistake.allowed
    assert action in mistake.action


def test_all_that_is_wrong_with_an_external_service_comes_at_once() -> None:
    external = {
        "addresses": ["db:1", "db:1"],
        "secret_ref": "The Secret",
        "ca_ref": "ca\n",
        "tls_server_name": "https://db",
    }
    found = mistakes({"mode": "external", "external": external})
    assert [m.key.removeprefix("store.external.") for m in found] == [
        "addresses",
        "secret_ref",
        "ca_ref",
        "tls_server_name",
    ]
    assert (found[0].seen, found[0].allowed) == ("db:1", "each only once")
    assert found[2].seen == '"ca\\n"'  # what can't be seen is written out


def test_limits_of_containers_are_all_told() -> None:
    with pytest.raises(ValidationError) as caught:
        Resources(cpu_millicores=100, memory_mib=64, cpu_limit_millicores=50, memory_limit_mib=32)
    (detail,) = caught.value.errors()
    assert [wrong.key for wrong in detail["ctx"]["wrong"]] == ["cpu_limit_millicores", "memory_limit_mib"]


@given(st.text(max_size=80))
def test_nothing_but_a_refusal_is_raised(text: str) -> None:
    for kind in (syntax.Namespace, syntax.LabelKey, syntax.Cidr, syntax.HostPort, syntax.JavaOption):
        takes(kind, text)


@given(st.from_regex(r"[a-z][a-z0-9]{2,10}:[1-9][0-9]{0,3}", fullmatch=True))
def test_a_host_with_a_port_is_taken(text: str) -> None:
    assert takes(syntax.HostPort, text)
