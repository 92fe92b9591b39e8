"""Promotion: a version's files go from the registry to the bucket of models, under their digest.

The digest is that of the manifest: the JSON of every file's name and SHA-256, sorted. It names the
folder, so what lies there can't become another model without another name, and predictors verify it
before they start. The manifest is written last: a folder without it is no version.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import ssl
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import quote, urlencode

from components.models.keeper import notes
from components.models.keeper.declared import FILE
from components.models.keeper.objects import folder
from components.models.keeper.wish import MODEL

API = "/api/2.0/mlflow/"
FILES = "/api/2.0/mlflow-artifacts/artifacts"
SCHEME = "mlflow-artifacts:/"
MANIFEST = "apadana-manifest.json"
PIECE, SECONDS = 1 << 20, 30.0
MOST_FILES = 1000
#: A registry whose database is away, or that has too much to do, says nothing of the version.
BUSY = (http.client.REQUEST_TIMEOUT, http.client.TOO_MANY_REQUESTS)
#: A tag of a version, or of its model: what an answer does beside being one. Such a model may answer; copies of
#: questions would do it twice.
EFFECTS = "side_effects"
NO_EFFECTS = ("", "none", "no", "false")
#: Endings of files that are a whole model.
FORMS = {".joblib": "sklearn", ".pkl": "sklearn", ".skops": "sklearn", ".onnx": "onnx"}
#: MLflow's flavours that are served, as a key of MLmodel.
FLAVOURS = re.compile(r"\b(sklearn|onnx):")


class PromotionError(Exception):
    """A version can't be served; says why and what to do."""


@dataclass(frozen=True)
class Version:
    """A version in the bucket."""

    digest: str
    form: str
    features: str = ""  # what it has to be told, declared.py; "": nothing


class Registry:
    """MLflow: one address after the other until one answers."""

    def __init__(self, addresses: list[tuple[str, int]], ca_file: str) -> None:
        self._addresses = addresses
        self._trusted = ssl.create_default_context(cafile=ca_file)

    def read(self, path: str, query: Mapping[str, str] | None = None) -> bytes:
        """One answer. Raises PromotionError for a no, OSError for none."""
        with tempfile.TemporaryFile() as file:
            self.fetch(f"{path}?{urlencode(query)}" if query else path, file)
            file.seek(0)
            return file.read()

    def tell(self, method: str, what: str, **fields: str) -> None:
        """One method that writes."""
        with tempfile.TemporaryFile() as file:
            self.fetch(API + what, file, method, json.dumps(fields).encode())

    def fetch(self, path: str, into: IO[bytes], method: str = "GET", body: bytes | None = None) -> None:
        """A file, piece by piece. One who can't say is no one who says no: the next one is asked."""
        head = {} if body is None else {"Content-Type": "application/json"}
        failed: Exception | None = None
        for host, port in self._addresses:
            line = http.client.HTTPSConnection(host, port, timeout=SECONDS, context=self._trusted)
            try:
                line.request(method, path, body, head)
                answer = line.getresponse()
                if answer.status != http.client.OK:
                    told = f"{answer.status} to {path.partition('?')[0]}: {answer.read(300).decode(errors='replace')}"
                    if answer.status in BUSY or answer.status >= http.client.INTERNAL_SERVER_ERROR:
                        raise OSError(f"{host} answers {told}")
                    raise PromotionError(f"the registry answers {told}")
                while piece := answer.read(PIECE):
                    into.write(piece)
            except (OSError, http.client.HTTPException) as error:
                failed = error
                into.seek(0)
                into.truncate()
            else:
                return
            finally:
                line.close()
        raise OSError(f"no replica of the registry answers: {failed}")

    def get(self, what: str, **query: str) -> Any:
        """One method that reads."""
        return json.loads(self.read(API + what, query))

    def version(self, reference: str) -> tuple[str, str]:
        """Name and number. An alias leads to the version that it names now."""
        found = MODEL.fullmatch(reference)
        if found is None:
            raise PromotionError(f"{reference} names no version of the registry")
        name, number, alias = found.groups()
        if alias:
            told = self.get("registered-models/alias", name=name, alias=alias)
            number = str(told["model_version"]["version"])
        return name, number

    def newest(self, alias: str) -> str:
        """The version that an alias names now, by its number."""
        return "models:/{}/{}".format(*self.version(alias))

    def effects(self, reference: str) -> str:
        """What its tags, or its model's, say of side effects; "": none."""
        name, number = self.version(reference)
        whole = self.get("registered-models/get", name=name)["registered_model"]
        one = self.get("model-versions/get", name=name, version=number)["model_version"]
        said = [str(tag["value"]) for each in (one, whole) for tag in each.get("tags", []) if tag["key"] == EFFECTS]
        return next((each for each in said if each.strip().lower() not in NO_EFFECTS), "")

    def source(self, reference: str) -> str:
        """Where the files of a version lie: a path below the registry's artefacts."""
        name, number = self.version(reference)
        uri = str(self.get("model-versions/get-download-uri", name=name, version=number)["artifact_uri"])
        if uri.startswith("models:/m-"):
            told = self.get(f"logged-models/{uri.removeprefix('models:/').partition('/')[0]}")
            uri = str(told["model"]["info"]["artifact_uri"])
        if not uri.startswith(SCHEME):
            raise PromotionError(f"the files of {reference} are at {uri}, not behind the registry ({SCHEME})")
        return uri.removeprefix(SCHEME).strip("/")

    def files(self, source: str, below: str = "") -> Iterator[str]:
        """Names of all files, from the version's own folder on."""
        path = f"{source}/{below}".strip("/")
        for found in json.loads(self.read(FILES, {"path": path})).get("files", []):
            name = f"{below}/{PurePosixPath(found['path']).name}".strip("/")
            if found.get("is_dir"):
                yield from self.files(source, name)
            else:
                yield name


def digest_of(sums: Mapping[str, str]) -> tuple[str, bytes]:
    """Of files by name and SHA-256: the digest, and the manifest that has it."""
    text = json.dumps({"files": dict(sorted(sums.items()))}, sort_keys=True, separators=(",", ":")).encode()
    return f"sha256:{hashlib.sha256(text).hexdigest()}", text


def form_of(names: list[str], described: str) -> str:
    """The model's format as KServe's runtimes name it. `described`: the text of MLmodel, if any."""
    if "MLmodel" in names:
        if not FLAVOURS.search(described):
            raise PromotionError(
                "the version's MLmodel has no flavour that is served; allowed: sklearn, onnx. Log it by"
                " mlflow.sklearn.log_model or mlflow.onnx.log_model"
            )
        return "mlflow"
    for name in names:
        if PurePosixPath(name).suffix in FORMS:
            return FORMS[PurePosixPath(name).suffix]
    raise PromotionError(
        f"no model among {', '.join(names[:20]) or 'no files'}; allowed: MLmodel or *{', *'.join(FORMS)}"
    )


def promote(registry: Registry, store: Any, bucket: str, reference: str, log: Callable[[str], None]) -> Version:
    """Copy one version; what is there already is not copied again."""
    # What an alias named when it was copied is the version, whatever it names later.
    exact = registry.newest(reference)
    source = registry.source(exact)
    names = sorted(registry.files(source))
    if not 0 < len(names) <= MOST_FILES:
        raise PromotionError(f"{reference} has {len(names)} files; allowed: 1 to {MOST_FILES}")
    with tempfile.TemporaryDirectory() as at:
        sums: dict[str, str] = {}
        for number, name in enumerate(names):
            with (Path(at) / str(number)).open("wb+") as file:
                registry.fetch(f"{FILES}/{quote(f'{source}/{name}')}", file)
                file.seek(0)
                sums[name] = hashlib.file_digest(file, "sha256").hexdigest()
        described = (Path(at) / str(names.index("MLmodel"))).read_text("utf-8") if "MLmodel" in names else ""
        form = form_of(names, described)
        asks = (Path(at) / str(names.index(FILE))).read_text("utf-8", "replace") if FILE in names else ""
        digest, manifest = digest_of(sums)
        notes.remember(store, bucket, digest, exact)  # first: what is being copied is no copy that may go
        if not held(store, bucket, digest):
            for number, name in enumerate(names):
                store.fput_object(bucket, f"{folder(digest)}/{name}", str(Path(at) / str(number)))
            notes.put(store, bucket, f"{folder(digest)}/{MANIFEST}", manifest)
            log(f"{reference} is {digest}: {len(names)} files copied")
    effects(registry, store, bucket, reference, digest)
    return Version(digest, form, asks)


def effects(registry: Registry, store: Any, bucket: str, reference: str, digest: str) -> str:
    """What a version is said to do beside answering; "": nothing.

    The registry is asked for its own versions. What it says is kept in the bucket, for who names one by its digest.
    """
    place = f"{EFFECTS}/{folder(digest)}"
    if not MODEL.fullmatch(reference):
        found = notes.content(store, bucket, place)
        return found[0].decode(errors="replace") if found else ""
    if said := registry.effects(reference):
        notes.put(store, bucket, place, said.encode())
    return said


def known(store: Any, bucket: str, digest: str) -> Version:
    """A version that was promoted before, by its digest alone."""
    names = held(store, bucket, digest)
    if not names:
        raise PromotionError(f"{digest} is not in the bucket {bucket}; give the version as models:/<name>/<version>")
    notes.remember(store, bucket, digest)
    form = "mlflow" if "MLmodel" in names else form_of(names, "")
    asks = notes.content(store, bucket, f"{folder(digest)}/{FILE}") if FILE in names else None
    return Version(digest, form, asks[0].decode("utf-8", "replace") if asks else "")


def again(registry: Registry, store: Any, bucket: str, digest: str, log: Callable[[str], None]) -> Version:
    """A version by its digest alone; one whose copy was retired comes from the registry once more."""
    if held(store, bucket, digest):
        return known(store, bucket, digest)
    failed = []
    for reference in reversed(notes.note(store, bucket, digest).references):
        try:
            found = promote(registry, store, bucket, reference, log)
        except PromotionError as error:
            failed.append(str(error))
            continue
        if found.digest == digest:
            log(f"{digest} is back, as {reference}")
            return found
        failed.append(f"{reference} is {found.digest} by now")
    if mark := notes.mark(store, bucket, digest):
        why = f"by {mark.by}" + (f" ({mark.why})" if mark.why else "")
        raise PromotionError(f"{digest} was retired {why}, and the registry does not have it: {'; '.join(failed)}")
    return known(store, bucket, digest)


def held(store: Any, bucket: str, digest: str) -> list[str]:
    """The files of a version that is whole; none: it is not there, or it goes."""
    key = f"{folder(digest)}/{MANIFEST}"
    found = notes.content(store, bucket, key)
    if found is None:
        return []
    text, version = found
    if f"sha256:{hashlib.sha256(text).hexdigest()}" != digest:
        raise PromotionError(f"the manifest of {digest} was altered: promote the version again from the registry")
    mark = notes.mark(store, bucket, digest)
    if mark is not None and mark.dooms(key, version):
        return []
    return sorted(json.loads(text)["files"])
