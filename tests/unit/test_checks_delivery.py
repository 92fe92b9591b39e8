"""What is said of a delivery, with one thing changed at a time."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from components.kit import contract
from components.kit.probing import Check, Verdict
from validate.core import causes
from validate.suites.checks import delivery

ALTERED, INCOMPLETE = causes.ALTERED_DELIVERY, causes.INCOMPLETE_DELIVERY
PLATFORM = contract.Platform.model_validate(
    {
        "site": "lab",
        "deployer": "pulumi",
        "namespace": "platform",
        "bundle_digest": f"sha256:{'0' * 64}",
        "components": [{"name": "kv", "version": "1", "mode": "managed"}],
    }
)
README = """# It
[the picture](docs/architecture.md#hosts) and [all of it](docs/), [away](https://example.org/).
`make up` makes it, and make no mistake. `[no](link)`

```
make up        # all
ansible-playbook -i x playbooks/site.yml
python -m validate smoke
kubectl exec deploy/kv -- python3 -m kv_tools.forget
```
"""


class Bundle:
    """A small one, whole; written, and signed, when it is judged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = dict.fromkeys(delivery.OF_THE_WHOLE, "x\n")
        self.files |= {f"components/kv/{name}": "x\n" for name in delivery.OF_A_ROOM}
        self.files |= {
            "README.md": README,
            "Makefile": "up: venv ## make it\nvenv:\n",
            "CHANGELOG.md": "# Changes\n\n## 0.1.0 (unreleased)\n\n- all\n",
            "UPGRADING.md": "There is only 0.1.0.\n",
            "pyproject.toml": '[project]\nversion = "0.1.0"\n',
            "components/kv/image/Containerfile": "FROM x\n",
            "components/kv/image/kv_tools/forget.py": "x = 1\n",
            "tests/unit/test_kv_settings.py": "",
            "inventories/lab/hosts.yml": "all:\n",
            "stacks/Pulumi.lab-data.yaml": "config: {}\n",
            "docs/validation.md": "`smoke`, `safety` and `stress`\n",
            "validate/suites/smoke.py": "",
            "validate/suites/plan.py": "",
            "validate/suites/checks/safety.py": "",
        }
        image = {"kind": "image", "name": "kv", "version": "1", "origin": "components/kv/image"}
        self.image = {**image, "licence": "MIT", **self.part("images/kv", b"layers")}
        self.bill: dict[str, Any] = {
            "bomFormat": "CycloneDX",
            "components": [_component("kv", "1", self.image["digest"], "MIT")],
        }
        self.spoil: Callable[[], object] = lambda: None

    def part(self, path: str, content: bytes) -> dict[str, str]:
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return {"path": path, "digest": f"sha256:{hashlib.sha256(content).hexdigest()}"}

    def write(self) -> delivery.HandOver:
        tree = self.part("repository.tar", _tar(self.files))
        self.bill["components"].append(_component("apadana", "1", tree["digest"], "Apache-2.0"))
        bill = self.part("sbom.cdx.json", json.dumps(self.bill).encode())
        artefacts = [
            self.image,
            {"kind": "tree", "name": "apadana", "version": "1", "origin": "here", **tree},
            {"kind": "index", "name": "sbom", "version": "1", "origin": "made", **bill},
        ]
        pins = hashlib.sha256(b"x\n").hexdigest()
        raw = json.dumps({"artefacts": artefacts, "versions": f"sha256:{pins}"}).encode()
        key = Ed25519PrivateKey.generate()
        self.part("manifest.json", raw)
        self.part("manifest.json.sig", base64.b64encode(key.sign(raw)) + b"\n")
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.part("../bundle.pub", public)
        self.spoil()
        return delivery.HandOver(self.folder, self.folder / "../bundle.pub", PLATFORM)

    def judged(self) -> dict[str, Check]:
        return {check.name: check for check in delivery.judge(self.write())}


def _component(name: str, version: str, digest: str, licence: str) -> dict[str, Any]:
    hashes = [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}]
    return {"name": name, "version": version, "hashes": hashes, "licenses": [{"license": {"name": licence}}]}


def _tar(files: Mapping[str, str]) -> bytes:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"apadana/{name}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
        link = tarfile.TarInfo("apadana/a-link")
        link.type, link.linkname = tarfile.SYMTYPE, "README.md"
        archive.addfile(link)
    return plain.getvalue()


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(tmp_path / "bundle")


def _of(path: str, content: str) -> Callable[[Bundle], object]:
    return lambda bundle: bundle.files.update({path: content})


def _without(path: str) -> Callable[[Bundle], object]:
    return lambda bundle: bundle.files.pop(path)


def _spoil(path: str, content: bytes) -> Callable[[Bundle], object]:
    return lambda bundle: setattr(bundle, "spoil", lambda: bundle.part(path, content))


OTHER_KEY = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
CHANGES: Mapping[str, tuple[Callable[[Bundle], object], str, str]] = {
    "an image was altered": (_spoil("images/kv", b"others"), delivery.SIGNED, ALTERED),
    "a part is missing": (lambda b: setattr(b, "spoil", (b.folder / "images/kv").unlink), delivery.SIGNED, ALTERED),
    "signed by somebody else": (_spoil("../bundle.pub", OTHER_KEY), delivery.SIGNED, ALTERED),
    "the signature is no base64": (_spoil("manifest.json.sig", b"!"), delivery.SIGNED, ALTERED),
    "an image of which no bill speaks": (lambda b: b.bill.update(components=[]), delivery.BILL, INCOMPLETE),
    "no licence": (
        lambda b: b.bill.update(components=[_component("kv", "1", b.image["digest"], "none")]),
        delivery.BILL,
        INCOMPLETE,
    ),
    "a bill of another form": (lambda b: b.bill.update(bomFormat="x"), delivery.BILL, INCOMPLETE),
    "an image from nowhere": (lambda b: b.image.update(origin="elsewhere"), delivery.BUILT, INCOMPLETE),
    "a room without its probe": (_without("components/kv/probe.py"), delivery.WHOLE, INCOMPLETE),
    "a room without a runbook": (_without("components/kv/RUNBOOK.md"), delivery.WHOLE, INCOMPLETE),
    "no upkeep": (_without("playbooks/reset.yml"), delivery.WHOLE, INCOMPLETE),
    "pins that nothing was built from": (_of("versions.yaml", "y\n"), delivery.WHOLE, INCOMPLETE),
    "a room without tests": (_without("tests/unit/test_kv_settings.py"), delivery.TESTED, INCOMPLETE),
    "a site without its machines": (_without("inventories/lab/hosts.yml"), delivery.STATE, INCOMPLETE),
    "a site without its settings": (_without("stacks/Pulumi.lab-data.yaml"), delivery.STATE, INCOMPLETE),
    "a site's salt": (_of("stacks/Pulumi.lab-ml.yaml", "encryptionsalt: x\n"), delivery.STATE, INCOMPLETE),
    "an old change list": (_of("CHANGELOG.md", "## 0.0.9\n\n- old\n"), delivery.CHANGES, INCOMPLETE),
    "an empty change list": (_of("CHANGELOG.md", "## 0.1.0\n"), delivery.CHANGES, INCOMPLETE),
    "nothing on upgrading": (_of("UPGRADING.md", "soon\n"), delivery.CHANGES, INCOMPLETE),
    "a target without help": (_of("Makefile", "up: venv\n"), delivery.COMMANDS, INCOMPLETE),
    "a module that is not there": (
        _of("components/kv/RUNBOOK.md", "`python -m kv.repair`"),
        delivery.COMMANDS,
        INCOMPLETE,
    ),
    "a playbook that is not there": (
        _of("docs/how.md", "`ansible-playbook playbooks/mend.yml`"),
        delivery.COMMANDS,
        INCOMPLETE,
    ),
    "a link to nowhere": (_of("docs/how.md", "[up](../UP.md)"), delivery.LINKS, INCOMPLETE),
    "a suite of which nothing is said": (_of("validate/suites/chaos/suite.py", ""), delivery.DESIGN, INCOMPLETE),
}


def test_a_whole_delivery_passes(bundle: Bundle) -> None:
    said = bundle.judged()
    assert tuple(said) == delivery.NAMES
    assert {c.verdict for c in said.values()} == {Verdict.PASS}, said


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_named_and_nothing_else(bundle: Bundle, name: str) -> None:
    change, check, cause = CHANGES[name]
    change(bundle)
    said = bundle.judged()
    found = said.pop(check)
    assert (found.verdict, found.evidence.get("cause")) == (Verdict.FAIL, cause), found
    assert {c.verdict for c in said.values()} == {Verdict.PASS}, said


def test_images_of_upstream_need_no_build(bundle: Bundle) -> None:
    bundle.image["origin"] = f"there/kv:1@sha256:{'1' * 64}"
    assert bundle.judged()[delivery.BUILT].verdict is Verdict.INVALID


def test_what_can_not_be_read_is_not_called_whole(bundle: Bundle) -> None:
    bundle.spoil = lambda: bundle.part("repository.tar", b"cut")
    assert bundle.judged()[delivery.WHOLE].verdict is Verdict.INVALID
    (bundle.folder / "../bundle.pub").unlink()
    found = delivery.HandOver(bundle.folder, bundle.folder / "../bundle.pub", PLATFORM)
    assert next(iter(delivery.judge(found))).verdict is Verdict.INVALID
