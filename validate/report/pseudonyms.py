"""Names and addresses of a site, replaced: the same name always by the same word.

A word is a keyed hash (HMAC-SHA256), so nobody without the key can try names until one fits. The
key and the list of names lie with the site's keys, never in a report's folder.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from components.kit import contract
from validate.core.model import Run
from validate.core.plain import plain
from validate.report.reading import run_from
from validate.report.signers import as_file

#: Keys of evidence whose values name machines, whoever wrote them. Of HOSTS the first label is a
#: name too (db1 of db1.example); of an address it may be any word (api of api.example).
HOSTS = frozenset({"host", "hosts", "hostname", "node", "nodes", "victim", "observer", "survivor", "machine"})
NAMING = HOSTS | {"server", "leader", "address"}
_IP4 = r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)"
_IP6 = r"(?<![\w:.])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?:%\w+)?(?![\w:])"
_MAC = r"(?<![\w:])(?:[0-9a-f]{2}:){5}[0-9a-f]{2}(?![\w:])"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")
#: Said by programs everywhere: they tell nothing of a site.
COMMON = frozenset({"localhost", "127.0.0.1", "0.0.0.0", "::1", "::", "none", "true", "false"})


@dataclass
class Pseudonyms:
    """`names`: what must never be seen. `used`: which word stands for what."""

    key: bytes
    names: frozenset[str]
    used: dict[str, str] = field(default_factory=dict)

    def text(self, text: str) -> str:
        """The text with every name and address replaced."""
        return self._pattern.sub(self._word, text)

    def run(self, run: Run) -> Run:
        """A copy of the run, replaced to the last string of its evidence."""
        return run_from(self._value(plain(run)) | {"site": run.site})

    def leaked(self, text: str) -> list[str]:
        """Names that still stand in the text."""
        found = self._pattern.finditer(text)
        return sorted({m[0] for m in found if _tells(m[0], m.lastgroup or "host")})

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(key): self._value(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._value(item) for item in value]
        return value

    def _word(self, match: re.Match[str]) -> str:
        name, kind = match[0], match.lastgroup or "host"
        if not _tells(name, kind):
            return name
        code = hmac.new(self.key, name.lower().encode(), hashlib.sha256).hexdigest()[:10]
        word = f"{kind}-{code}"
        self.used[word] = name.lower()
        return word

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        # The longest first: node-1.example before node-1. A name may stand before a dot.
        ordered = sorted(self.names, key=len, reverse=True)
        parts = [f"(?P<mac>{_MAC})", f"(?P<ip6>{_IP6})", f"(?P<ip>{_IP4})"]
        if ordered:
            listed = "|".join(map(re.escape, ordered))
            parts.append(rf"(?P<host>(?<![A-Za-z0-9])(?:{listed})(?![A-Za-z0-9]))")
        return re.compile("|".join(parts), re.IGNORECASE)


def make(folder: Path, run: Run, reports: Path, extra: Iterable[str] = ()) -> Pseudonyms:
    """For this run: names of the contract, of evidence that names machines, and `extra`."""
    of_contract, components = _of_contract(reports)
    names = {*extra, *_named(plain(run)), *of_contract} - components - COMMON - {run.site}
    kept = {n for n in names if len(n) > 1 and _NAME.fullmatch(n) and not n.isdigit()}
    return Pseudonyms(_key(folder / f"pseudonyms-{as_file(run.site)}.key"), frozenset(kept))


def remember(folder: Path, site: str, made: Pseudonyms) -> Path:
    """Adds to the list of what each word stands for; for the client's eyes only."""
    path = folder / f"pseudonyms-{as_file(site)}.json"
    known = json.loads(path.read_text()) if path.is_file() else {}
    _private(path, json.dumps(known | made.used, indent=1, sort_keys=True).encode() + b"\n")
    return path


def _tells(name: str, kind: str) -> bool:
    """Not what programs say everywhere, and not a time or a version that looks like an address."""
    if name.lower() in COMMON:
        return False
    return kind not in ("ip", "ip6") or _is_address(name)


def _is_address(text: str) -> bool:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def _of_contract(reports: Path) -> tuple[set[str], set[str]]:
    """Nodes and addresses that the platform's contract names, and the names of its components."""
    path = reports.parent.parent / reports.name / "platform.json"
    try:
        platform = contract.Platform.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return set(), set()
    found: set[str] = set()
    for component in platform.components:
        nodes = {member.node for member in component.members if member.node}
        found |= nodes | {node.partition(".")[0] for node in nodes}
        for endpoint in (*component.endpoints_in, *component.endpoints_out):
            found |= {a.rpartition(":")[0] for a in endpoint.address.split(",")}
            found |= {endpoint.tls_server_name or ""}
    return found, {component.name for component in platform.components}


def _named(value: Any, key: str = "") -> Iterable[str]:
    """Strings under keys that name machines; keys of a mapping under such a key too."""
    naming = key.lower() in NAMING
    if isinstance(value, str) and naming:
        yield from (value, value.rpartition(":")[0])
        if key.lower() in HOSTS and not _is_address(value):
            yield value.partition(".")[0]
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if naming:
                yield from (name, name.partition(".")[0])
            yield from _named(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from _named(item, key)


def _key(path: Path) -> bytes:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _private(path, secrets.token_bytes(32))
    return path.read_bytes()


def _private(path: Path, raw: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(raw)
    fresh.replace(path)
