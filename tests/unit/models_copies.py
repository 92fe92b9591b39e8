"""A bucket with versions and a registry, in memory, as minio's client and the keeper's Registry show them; every
question to either of them may be a moment at which others go on."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote

from minio.error import S3Error

from components.models.keeper import artefacts
from components.models.keeper.artefacts import MANIFEST, PromotionError, Registry, digest_of
from components.models.keeper.objects import folder


class Answer(BytesIO):
    """As urllib3's."""

    def __init__(self, text: bytes, version: str) -> None:
        super().__init__(text)
        self.headers = {"x-amz-version-id": version}

    def release_conn(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True)
class Item:
    """As minio lists it."""

    object_name: str
    version_id: str
    content: bytes
    last_modified: datetime

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def etag(self) -> str:
        return hashlib.md5(self.content + self.version_id.encode(), usedforsecurity=False).hexdigest()


class Store:
    """One bucket that keeps versions."""

    def __init__(self, clock: Callable[[], float], gate: Callable[[str], None] = lambda what: None) -> None:
        self.clock, self.gate = clock, gate
        self.held: dict[str, list[Item]] = {}
        self._ids = map(str, itertools.count(1))

    def put_object(self, bucket: str, key: str, content: IO[bytes], length: int) -> None:
        self.gate(f"put {key}")
        at = datetime.fromtimestamp(self.clock(), UTC)
        self.held.setdefault(key, []).append(Item(key, f"v{next(self._ids)}", content.read(length), at))

    def fput_object(self, bucket: str, key: str, path: str) -> None:
        content = Path(path).read_bytes()
        self.put_object(bucket, key, BytesIO(content), len(content))

    def get_object(self, bucket: str, key: str) -> Answer:
        self.gate(f"get {key}")
        if not self.held.get(key):
            raise S3Error(None, "NoSuchKey", "", key, "", "", bucket)  # type: ignore[arg-type]
        return Answer(self.held[key][-1].content, self.held[key][-1].version_id)

    def remove_object(self, bucket: str, key: str, version_id: str) -> None:
        self.gate(f"remove {key} {version_id}")
        self.held[key] = [each for each in self.held.get(key, []) if each.version_id != version_id]

    def list_objects(
        self, bucket: str, prefix: str, *, recursive: bool, include_version: bool = False
    ) -> Iterator[Item]:
        assert recursive
        self.gate(f"list {prefix}")
        found = [each for key, each in sorted(self.held.items()) if key.startswith(prefix) and each]
        return iter([item for each in found for item in (each if include_version else each[-1:])])

    def whole(self, digest: str) -> bool:
        """Whether a pod that starts now finds all of it."""
        manifest = self.held.get(f"{folder(digest)}/{MANIFEST}")
        if not manifest:
            return False
        return all(self.held.get(f"{folder(digest)}/{name}") for name in json.loads(manifest[-1].content)["files"])

    def objects(self, digest: str) -> int:
        """Whatever is left of it, older ones, too."""
        return sum(len(each) for key, each in self.held.items() if key.startswith(f"{folder(digest)}/"))


@dataclass
class Known:
    """A version of the registry."""

    files: dict[str, bytes]
    made: float = 0.0
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return digest_of({name: hashlib.sha256(text).hexdigest() for name, text in self.files.items()})[0]


class Mlflow(Registry):
    """Versions of the model `iris` by their numbers, and aliases."""

    def __init__(self, gate: Callable[[str], None] = lambda what: None) -> None:
        self.gate = gate
        self.known: dict[str, Known] = {}
        self.aliases: dict[str, str] = {}
        self.away = False

    def add(self, number: str, made: float = 0.0) -> str:
        """Its digest."""
        self.known[number] = Known({"model.joblib": f"model {number}".encode(), "more": b"x"}, made)
        return self.known[number].digest

    def _ask(self, what: str) -> None:
        self.gate(f"registry {what}")
        if self.away:
            raise OSError("no replica of the registry answers")

    def get(self, what: str, **query: str) -> Any:
        self._ask(what)
        if what == "registered-models/alias":
            if query["alias"] not in self.aliases:
                raise PromotionError(f"the registry answers 404 to {query}")
            return {"model_version": {"version": self.aliases[query["alias"]]}}
        if what == "registered-models/search":
            told = [{"alias": alias, "version": number} for alias, number in self.aliases.items()]
            return {"registered_models": [{"name": "iris", "aliases": told}]}
        if what == "registered-models/get":
            return {"registered_model": {}}
        if what == "model-versions/search":
            return {"model_versions": [self._version(number) for number in self.known]}
        if query["version"] not in self.known:
            raise PromotionError(f"the registry answers 404 to {query}")
        if what == "model-versions/get":
            return {"model_version": self._version(query["version"])}
        assert what == "model-versions/get-download-uri"
        return {"artifact_uri": f"{artefacts.SCHEME}{query['version']}/model"}

    def _version(self, number: str) -> dict[str, Any]:
        each = self.known[number]
        tags = [{"key": key, "value": value} for key, value in each.tags.items()]
        return {"name": "iris", "version": number, "creation_timestamp": each.made * 1000, "tags": tags}

    def tell(self, method: str, what: str, **fields: str) -> None:
        self._ask(what)
        if fields["version"] not in self.known:
            raise PromotionError("the registry answers 404")
        tags = self.known[fields["version"]].tags
        if method == "POST":
            tags[fields["key"]] = fields["value"]
        else:
            del tags[fields["key"]]

    def fetch(self, path: str, into: IO[bytes], method: str = "GET", body: bytes | None = None) -> None:
        self._ask(path)
        number, _, name = unquote(path).removeprefix(f"{artefacts.FILES}/").split("/", 2)
        if number not in self.known:
            raise PromotionError("the registry answers 404")
        into.write(self.known[number].files[name])

    def read(self, path: str, query: Any = None) -> bytes:
        self._ask(path)
        number = query["path"].split("/")[0]
        if number not in self.known:
            raise PromotionError("the registry answers 404")
        return json.dumps({"files": [{"path": name} for name in self.known[number].files]}).encode()
