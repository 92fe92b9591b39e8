"""The platform contract, the manifest, naming, discovery, and the generated schemas."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from components.kit import contract, discovery, manifest, naming, schema
from components.kit.probing import Endpoint, Target, Verdict, attempt
from components.kit.settings import SiteFacts

DIGEST = "sha256:" + "a" * 64
SITE = SiteFacts("lab")


def platform(**component: object) -> dict[str, object]:
    full = {"name": "kafka", "version": "4", "mode": "managed"} | component
    return {"site": "lab", "deployer": "pulumi", "namespace": "platform", "bundle_digest": DIGEST, "components": [full]}


def test_written_and_read_back(tmp_path: Path) -> None:
    file = tmp_path / "platform.json"
    given = contract.Platform.model_validate(platform())
    file.write_text(contract.dump(given))
    assert contract.load(file) == given
    assert given.component("kafka").version == "4"
    with pytest.raises(contract.ContractError, match=r"no component 'x' \(it has: kafka\)"):
        given.component("x")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"endpoints_in": [{"protocol": "s3", "address": "nowhere"}]}, "address"),
        ({"password": "x"}, "extra"),
        (
            {
                "backup": {
                    "target": "s3://minio.platform.svc.cluster.local/b",
                    "schedule": "",
                    "rpo_seconds": 1,
                    "rto_seconds": 1,
                }
            },
            "inside the cluster",
        ),
    ],
)
def test_refused(tmp_path: Path, change: dict[str, object], word: str) -> None:
    file = tmp_path / "platform.json"
    file.write_text(json.dumps(platform(**change)))
    with pytest.raises(contract.ContractError, match=word):
        contract.load(file)


def test_no_contract_is_told(tmp_path: Path) -> None:
    with pytest.raises(contract.ContractError, match="install the platform"):
        contract.load(tmp_path / "none.json")


def test_manifest(tmp_path: Path) -> None:
    with pytest.raises(manifest.ManifestError, match="no bundle"):
        manifest.read(tmp_path)
    image = {"kind": "image", "name": "kafka", "version": "4.2.0", "digest": DIGEST}
    binary = {"kind": "binary", "name": "pulumi", "version": "3", "digest": DIGEST}
    (tmp_path / "manifest.json").write_text(json.dumps({"artefacts": [image, binary]}))
    bundle = manifest.read(tmp_path)
    assert bundle.image("kafka") == f"apadana.local/kafka@{DIGEST}"
    assert bundle.versions == {"kafka": "4.2.0"}
    with pytest.raises(manifest.ManifestError, match=r"no image 'spark' \(it has: kafka\)"):
        bundle.image("spark")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(manifest.ManifestError, match="not a bundle manifest"):
        manifest.read(tmp_path)


def test_names() -> None:
    assert naming.members("kafka", 2) == ["kafka-0", "kafka-1"]
    assert naming.addresses("kafka", 1, 9092, SITE) == ("kafka-0.kafka-members.platform.svc.cluster.local:9092")
    names = naming.server_dns_names("kafka", 1, SITE)
    assert {"kafka", "kafka.platform.svc", "localhost"} <= set(names)
    assert len(names) == len(set(names))


def test_rooms_are_folders(tmp_path: Path) -> None:
    for name in ("b", "a", "kit", "notes"):
        (tmp_path / name).mkdir()
    for name in ("b", "a", "kit"):
        (tmp_path / name / "settings.py").touch()
    assert [room.name for room in discovery.rooms(tmp_path)] == ["a", "b"]
    assert {"cluster", "nodepool", "storage"} <= {room.name for room in discovery.layer("cluster")}


def test_generated_schemas_are_current() -> None:
    behind = schema.stale(schema.wanted())
    assert not behind, f"run `python -m components.kit.schema`: {behind}"


def test_endpoints_and_attempts() -> None:
    endpoint = Endpoint("s3", "a:1,b:2")
    assert endpoint.hosts() == [("a", 1), ("b", 2)]
    target = Target("x", [endpoint], "u", "hidden", "/ca", extra={"k": "hidden"})
    assert "hidden" not in repr(target)
    with pytest.raises(LookupError, match="offers no 'kafka' endpoint"):
        target.endpoint("kafka")

    def broken() -> tuple[bool, str, dict[str, object]]:
        raise ConnectionError("no route")

    assert attempt("x", broken).verdict is Verdict.FAIL
    assert attempt("x", lambda: (True, "", {})).verdict is Verdict.PASS


def test_what_validate_imports_is_free_of_pulumi() -> None:
    code = (
        "import sys, components.kit.probing, components.kit.contract;"
        "sys.exit(any(m.split('.')[0] in ('pulumi', 'pulumi_kubernetes') for m in sys.modules))"
    )
    root = discovery.COMPONENTS.parent
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_servers_are_known_by_name_or_by_label() -> None:
    made = contract.Component.model_validate(
        {
            "name": "web",
            "version": "1",
            "mode": "managed",
            "members": [{"name": "web-0", "role": "keeper"}],
            "workloads": [
                {"role": "server", "replicas": 2, "labels": {"app": "web"}},
                {"role": "proxy", "replicas": 3, "labels": {"app": "proxy"}, "namespace": "edge"},
            ],
        }
    )
    assert made.servers == 6
    assert made.roles == {"keeper": 1, "server": 2, "proxy": 3}
    assert made.role_of("web-0", {}, None) == "keeper"
    assert made.role_of("web-x", {"app": "web", "more": "1"}, None) == "server"
    assert made.role_of("proxy-x", {"app": "proxy"}, "edge") == "proxy"
    assert made.role_of("proxy-x", {"app": "proxy"}, None) is None
    assert made.role_of("web-0", {}, "edge") is None
