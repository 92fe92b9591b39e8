"""Versions in the bucket: by their digest, and with what the registry says of them."""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import pytest
from minio.error import S3Error

from components.kit import pki
from components.models.keeper import artefacts
from components.models.keeper.artefacts import (
    PromotionError,
    Registry,
    Version,
    digest_of,
    form_of,
    held,
    known,
    promote,
)


class Answer(BytesIO):
    headers: Mapping[str, str] = {}  # of a bucket without versions

    def release_conn(self) -> None:
        """As urllib3's."""


class Store:
    """A bucket in memory."""

    def __init__(self, **objects: bytes) -> None:
        self.objects = objects

    def put_object(self, bucket: str, key: str, content: BytesIO, length: int) -> None:
        self.objects[key] = content.read(length)

    def get_object(self, bucket: str, key: str) -> Answer:
        if key not in self.objects:
            raise S3Error(None, "NoSuchKey", "", key, "", "", bucket)  # type: ignore[arg-type]
        return Answer(self.objects[key])


def test_a_version_is_back_by_its_digest_alone() -> None:
    digest, text = digest_of({"model.joblib": "ab"})
    assert digest == f"sha256:{hashlib.sha256(text).hexdigest()}"
    key = f"{digest.replace(':', '/')}/{artefacts.MANIFEST}"
    assert known(Store(**{key: text}), "models", digest) == Version(digest, "sklearn")
    with pytest.raises(PromotionError, match="altered"):
        held(Store(**{key: text + b" "}), "models", digest)
    with pytest.raises(PromotionError, match="is not in the bucket"):
        known(Store(), "models", digest)


class Filed(Registry):
    """A registry with one version, of these files."""

    def __init__(self, **files: bytes) -> None:
        self.all = {name.replace("_", "."): content for name, content in files.items()}

    def source(self, reference: str) -> str:
        return "1/model"

    def files(self, source: str, below: str = "") -> Iterator[str]:
        yield from self.all

    def fetch(self, path: str, into: IO[bytes], method: str = "GET", body: bytes | None = None) -> None:
        into.write(self.all[path.rpartition("/")[2]])

    def effects(self, reference: str) -> str:
        return ""


class Taking(Store):
    """Takes files of this machine, too."""

    def fput_object(self, bucket: str, key: str, file: str) -> None:
        self.objects[key] = Path(file).read_bytes()


def test_what_a_version_declares_comes_along_from_the_registry_and_by_its_digest() -> None:
    store, log = Taking(), list[str]()
    found = promote(
        Filed(model_joblib=b"x", features_json=b'{"key": 1}'), store, "models", "models:/iris/1", log.append
    )
    assert found.features == '{"key": 1}' and known(store, "models", found.digest) == found
    plain = promote(Filed(model_joblib=b"x"), store, "models", "models:/iris/2", log.append)
    assert plain.features == "" and plain.digest != found.digest and known(store, "models", plain.digest) == plain


class Tagged(Registry):
    """A registry with one version, whose tags and whose model's are told."""

    def __init__(self, version: Mapping[str, str], model: Mapping[str, str]) -> None:
        self.tags = {"model_version": version, "registered_model": model}

    def get(self, what: str, **query: str) -> Any:
        if what == "registered-models/alias":
            return {"model_version": {"version": "2"}}
        assert query == {"name": "iris", "version": "2"} or what == "registered-models/get"
        kind = {"model-versions/get": "model_version", "registered-models/get": "registered_model"}[what]
        return {kind: {"tags": [{"key": key, "value": value} for key, value in self.tags[kind].items()]}}


@pytest.mark.parametrize(
    ("version", "model", "said"),
    [
        ({}, {}, ""),
        ({"side_effects": "writes orders", "other": "x"}, {}, "writes orders"),
        ({}, {"side_effects": "true"}, "true"),
        ({"side_effects": "None"}, {"side_effects": ""}, ""),
        ({"side_effects": "no"}, {"side_effects": "writes"}, "writes"),
    ],
)
@pytest.mark.parametrize("reference", ["models:/iris/2", "models:/iris@best"])
def test_side_effects_are_a_tag_of_a_version_or_of_its_model(
    version: dict[str, str], model: dict[str, str], said: str, reference: str
) -> None:
    store, registry = Store(), Tagged(version, model)
    assert artefacts.effects(registry, store, "models", reference, "sha256:ab") == said
    # Who has its digest alone knows as much, and predictors find no file more in its folder.
    assert artefacts.effects(registry, store, "models", "sha256:ab", "sha256:ab") == said
    assert not [key for key in store.objects if key.startswith("sha256/")]


def test_the_digest_is_that_of_names_and_contents() -> None:
    assert digest_of({"a": "1", "b": "2"}) == digest_of({"b": "2", "a": "1"})
    assert len({digest_of(sums)[0] for sums in ({"a": "1"}, {"a": "2"}, {"b": "1"}, {"a": "1", "b": "1"})}) == 4


@pytest.mark.parametrize(
    ("names", "described", "form"),
    [
        (["MLmodel", "model.pkl"], "flavors:\n  sklearn:\n", "mlflow"),
        (["MLmodel", "model.onnx"], "flavors:\n  onnx:\n    data: model.onnx\n  python_function:\n", "mlflow"),
        (["model.joblib"], "", "sklearn"),
        (["model.onnx", "model.onnx.data"], "", "onnx"),
        (["MLmodel"], "flavors:\n  python_function:\n    loader_module: mlflow.onnx\n", None),
        (["MLmodel"], "flavors:\n  pytorch:\n", None),
        (["weights.bin"], "", None),
        ([], "", None),
    ],
)
def test_the_form_of_a_model(names: list[str], described: str, form: str | None) -> None:
    if form is None:
        with pytest.raises(PromotionError, match="allowed"):
            form_of(names, described)
    else:
        assert form_of(names, described) == form


class Replicas:
    """Of a registry, with TLS; each answers everything alike."""

    def __init__(self, folder: Path, *answers: int) -> None:
        pki.ensure_ca(folder, "registry")
        leaf = pki.ensure_leaf(folder, "replica", ["localhost"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.certificate, leaf.key)
        self.servers = [ThreadingHTTPServer(("127.0.0.1", 0), self.handler(status)) for status in answers]
        for server in self.servers:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self.registry = Registry([("localhost", server.server_port) for server in self.servers], str(leaf.ca))

    @staticmethod
    def handler(status: int) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = b'{"said": 1}'
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler

    def stop(self) -> None:
        for server in self.servers:
            server.shutdown()
            server.server_close()


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ((503, 200), None),
        ((500, 503), OSError),
        ((429, 408), OSError),
        ((404, 200), PromotionError),
        ((503, 403), PromotionError),
    ],
)
def test_a_registry_that_can_not_say_is_none_that_says_no(
    tmp_path: Path, answers: tuple[int, ...], told: type[Exception] | None
) -> None:
    """A release whose registry has lost its database for a moment waits; it is not refused."""
    replicas = Replicas(tmp_path, *answers)
    try:
        with pytest.raises(told, match=r"answers \d+ to /api") if told else nullcontext():
            assert replicas.registry.get("model-versions/get") == {"said": 1}
    finally:
        replicas.stop()
