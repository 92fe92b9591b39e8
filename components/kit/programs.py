"""Programs that people bring, as pods where users' code runs: what jobs of several rooms have in common. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.errors import Refusal
from components.kit.manifests import Manifest, dns_egress, manifest, policy
from components.kit.mistakes import Mistake
from components.kit.settings import Placement, SiteFacts

CODE_AT = "/opt/job"
LARGEST = 900_000  # bytes of code: a ConfigMap holds 1 MiB
#: A host that does not answer loses its pods after so long; Kubernetes itself waits five minutes.
HOST_LOST_S = 30
KEPT_S = 86_400  # an ended job, for its log
AWAY = [
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": HOST_LOST_S}
    for key in ("not-ready", "unreachable")
]


@dataclass(frozen=True)
class Program:
    """What is to be run; `code`: file names and their text, of which `main` is started with `words`."""

    name: str
    code: Mapping[str, str]
    main: str
    words: Sequence[str] = ()

    def wrong(self) -> list[str]:
        """All that can't work, in words."""
        found = []
        if len(self.name) > 40 or not _named(self.name):
            found.append(f"name {self.name!r}: up to 40 small letters, digits and single hyphens, a letter first")
        if self.main not in self.code:
            found.append(f"main {self.main!r} is none of the files {', '.join(sorted(self.code)) or '(none)'}")
        if (size := sum(len(text.encode()) for text in self.code.values())) > LARGEST:
            found.append(f"the code is {size} bytes, and at most {LARGEST} go into an object of the cluster")
        return found

    def checked(self) -> None:
        """Raises Refusal with all that is wrong with it."""
        if wrong := self.wrong():
            raise Refusal("this job can't be run:\n" + "\n".join(f"  {line}" for line in wrong))

    def files(self, namespace: str, marks: Mapping[str, str]) -> Manifest:
        """The ConfigMap with its code."""
        return manifest("v1", "ConfigMap", self.name, namespace=namespace, marks=marks, data=dict(self.code))


def _named(name: str) -> bool:
    words = name.split("-")
    return name[:1].isalpha() and all(word.isascii() and word.isalnum() and word == word.lower() for word in words)


def fence(
    name: str, namespace: str, own: Mapping[str, str], marks: Mapping[str, str], ways: Iterable[Mapping[str, Any]]
) -> Manifest:
    """A job's own pods, of the labels `own`, on every port, the name server, these ways out, and nobody else."""
    peers = {"podSelector": {"matchLabels": dict(own)}}
    out = [dns_egress(), {"to": [peers]}, *ways]
    made = policy(name, namespace, own, ingress=[{"from": [peers]}], egress=out)
    made["metadata"]["labels"] = dict(marks)
    return made


def placement(wanted: Placement) -> str:
    """With more pods than hosts nobody waits for a host that does not exist."""
    return str(Placement.PREFERRED if wanted is Placement.REQUIRED else wanted)


def homeless(room: str, mode: str, site: SiteFacts) -> Iterator[Mistake]:
    """A mistake where nobody makes the namespace for users' code: one given namespace is no place for it."""
    if "cluster" not in site.rooms and "cluster" not in site.unread:
        allowed = f"'off': nobody makes the namespace {site.work}, where jobs run"
        action = "give the site the layer cluster, or set mode: off with off_because"
        yield Mistake(f"{room}.mode", mode, allowed, action)
