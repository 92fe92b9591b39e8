"""What runs, and what it may: every pod and object of the cluster, against the contract and the bundle.

`listed` asks the cluster once, `seen` for Secrets; the rest is pure. Kubernetes' own pods are judged by their images
alone: a proxy of the network must touch the host, and no rule of a tenant's binds it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.kit import contract, manifest
from components.kit.manifests import PART_OF, labels_of, name_of
from components.kit.probing import Check, Object, Verdict, judged
from validate.core import causes
from validate.ground.site import Site
from validate.suites.checks import rooms
from validate.suites.checks.objects import NAME_LABEL

SYSTEM = "kube-system"
CARDS = "nvidia.com/gpu"
WORKLOADS = ("StatefulSet", "Deployment", "DaemonSet", "Job", "CronJob")
KINDS = (
    *("nodes", "pods", "statefulsets", "deployments", "daemonsets", "jobs", "cronjobs"),
    *("services", "configmaps", "networkpolicies"),
)
WORD = re.compile(r"[\w-]{24,}")
DERIVED = 32  # letters of a password that kit/secrets.py derives
PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
PRIVATE = re.compile(rf"{PRIVATE_KEY.pattern}.*?-----END", re.DOTALL)
#: Meant to be read by everybody, also where a Secret holds it.
PUBLIC = re.compile(r"-----BEGIN (CERTIFICATE|PUBLIC KEY)-----.*?-----END \1-----", re.DOTALL)

IMAGES = "images: all of the bundle"
PRIVILEGE = "pods: no raised privilege"
SHARES = "pods: a share of their own"
HOME = "objects: in the namespaces of the contract"
CHARTS = "workloads: of the bundle's charts"
SECRETS = "secrets: in no other object"
POOL = "pool of cards: only what asks for it"
NAMES = (IMAGES, PRIVILEGE, SHARES, HOME, CHARTS, SECRETS, POOL)


@dataclass(frozen=True)
class RunningObjects:
    """Everything that the checks judge."""

    platform: contract.Platform
    bundle: manifest.Bundle
    objects: Sequence[Object]
    secrets: Sequence[Object]

    def of(self, *kinds: str) -> list[Object]:
        return [o for o in self.objects if o["kind"] in kinds]

    def pods(self) -> list[Object]:
        """Those that run or are about to; what has ended, or is on its way out, does nothing."""
        return [
            pod
            for pod in self.of("Pod")
            if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
            and not pod["metadata"].get("deletionTimestamp")
        ]

    def tenants(self) -> list[Object]:
        return [pod for pod in self.pods() if _space(pod) != SYSTEM]


def listed(site: Site) -> list[Object]:
    """One look at the cluster, for these checks and those of rooms that have no client."""
    wanted = sorted({*KINDS, *rooms.kinds(site.rooms)})
    found: list[Object] = site.cluster.json("get", "-A", ",".join(wanted), timeout=80)["items"]
    return found


def seen(site: Site, objects: Sequence[Object]) -> RunningObjects:
    """Secrets are held in memory only, and never told."""
    secrets = site.cluster.json("-n", site.platform.namespace, "get", "secrets")["items"]
    return RunningObjects(site.platform, manifest.read(site.bundle), objects, secrets)


def checks(site: Site, objects: Sequence[Object]) -> Iterator[Check]:
    """All of them, of what `listed` gave; without a bundle to compare with, nothing is said for any."""
    try:
        found = seen(site, objects)
    except manifest.ManifestError as error:
        yield Check(IMAGES, Verdict.INVALID, str(error))
        return
    yield from judge(found)


def judge(found: RunningObjects) -> Iterator[Check]:
    """Pure."""
    if not found.tenants():
        yield Check(PRIVILEGE, Verdict.INVALID, "no pod outside Kubernetes' own was seen")
        return
    yield images(found)
    yield privilege(found)
    yield shares(found)
    yield home(found)
    yield charts(found)
    yield secrets(found)
    yield from pool(found)


def images(found: RunningObjects) -> Check:
    """By digest; Kubernetes' own may name the bundle's version, since its installer knows no digests."""
    by_digest = set(found.bundle.images.values())
    by_version = {f"{manifest.REGISTRY}/{name}:{version}" for name, version in found.bundle.versions.items()}
    wrong, count = [], 0
    for pod in found.pods():
        known = by_digest | by_version if _space(pod) == SYSTEM else by_digest
        for container in containers_of(pod):
            count += 1
            if container["image"] not in known:
                wrong.append(f"{_told(pod, container)} runs {container['image']}, which the bundle does not hold")
    return judged(IMAGES, wrong, f"{count} containers of {len(found.pods())} pods", causes.FOREIGN_IMAGE)


def privilege(found: RunningObjects) -> Check:
    """What Kubernetes' Pod Security calls restricted, told of the pods as they are."""
    pods = found.tenants()
    wrong = [f"{_told(pod)} {why}" for pod in pods for why in raised(pod["spec"])]
    keeping = sum(any("persistentVolumeClaim" in v for v in pod["spec"].get("volumes", ())) for pod in pods)
    told = f"{len(pods)} pods; {keeping} keep data on volumes, none sees a path of its host"
    return judged(PRIVILEGE, wrong, told, causes.RAISED_PRIVILEGE)


def raised(spec: Object) -> Iterator[str]:
    """Each thing that a pod may and should not."""
    yield from (f"uses {key}" for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key))
    for volume in spec.get("volumes") or ():
        if "hostPath" in volume:
            yield f"mounts {volume['hostPath'].get('path')} of its host"
    pod = spec.get("securityContext") or {}
    for container in _of(spec):
        own = container.get("securityContext") or {}
        name = f"container {container['name']}"
        if own.get("privileged"):
            yield f"{name} is privileged"
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{name} may gain privileges"
        if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
            yield f"{name} may run as root"
        capabilities = own.get("capabilities") or {}
        more = set(capabilities.get("add") or ()) - {"NET_BIND_SERVICE"}
        if "ALL" not in (capabilities.get("drop") or ()) or more:
            yield f"{name} keeps capabilities {', '.join(sorted(more))}".rstrip()
        seccomp = own.get("seccompProfile") or pod.get("seccompProfile") or {}
        if seccomp.get("type") not in ("RuntimeDefault", "Localhost"):
            yield f"{name} may make any system call"


def shares(found: RunningObjects) -> Check:
    """Requests and limits of each container: what is one part's alone can grow alone."""
    wrong, count = [], 0
    for pod in found.tenants():
        for container in containers_of(pod):
            count += 1
            given = container.get("resources") or {}
            lacks = [
                f"{kind} of {what}"
                for kind in ("requests", "limits")
                for what in ("cpu", "memory")
                if what not in (given.get(kind) or {})
            ]
            if lacks:
                wrong.append(f"{_told(pod, container)} has no {', '.join(lacks)}")
    return judged(SHARES, wrong, f"{count} containers with requests and limits", causes.NO_SHARE)


def home(found: RunningObjects) -> Check:
    """Objects of ours lie in the one namespace, in the one beside it for what users bring, and where the contract
    says that a room has another."""
    declared = {w.namespace: c.name for c in found.platform.components for w in c.workloads if w.namespace}
    allowed = {found.platform.namespace, found.platform.work, *declared}
    mine = [o for o in found.objects if _ours(o) and _space(o)]
    wrong = [f"{o['kind']} {name_of(o)} lies in {_space(o)}" for o in mine if _space(o) not in allowed]
    apart = ", ".join(f"{space} ({room})" for space, room in sorted(declared.items()))
    told = f"{len(mine)} objects in {found.platform.namespace}" + (f" and in {apart}" if apart else "")
    return judged(HOME, wrong, told, causes.OUT_OF_PLACE)


def charts(found: RunningObjects) -> Check:
    """Every workload of ours in the platform's namespace carries the name of a chart of the bundle."""
    known = set(found.bundle.charts)
    mine = [o for o in found.of(*WORKLOADS) if _space(o) == found.platform.namespace and _ours(o)]
    wrong = [
        f"{o['kind']} {name_of(o)} is called {labels_of(o).get(NAME_LABEL)}, and no chart of the bundle is"
        for o in mine
        if labels_of(o).get(NAME_LABEL) not in known
    ]
    managed = {c.name for c in found.platform.components if c.mode == "managed"}
    wrong += [f"the bundle has no chart of {name}" for name in sorted(managed - known)]
    told = f"{len(mine)} workloads of {len(managed)} components, each of a chart of the bundle"
    apart = sorted(managed - {labels_of(o).get(NAME_LABEL) for o in mine})
    told += f"; the pods of {', '.join(apart)} are made elsewhere" if apart else ""
    return judged(CHARTS, wrong, told, causes.OUT_OF_PLACE)


def secrets(found: RunningObjects) -> Check:
    """No password and no private key of a Secret stands where everybody reads who may look at all."""
    words: dict[str, str] = {}
    for secret in found.secrets:
        for key, encoded in (secret.get("data") or {}).items():
            text = PUBLIC.sub("", base64.b64decode(encoded).decode(errors="replace"))
            words |= dict.fromkeys(hidden(text), f"{name_of(secret)}, key {key}")
    if not words:
        return Check(SECRETS, Verdict.INVALID, "no password was seen in a Secret, so none could be looked for")
    wrong = []
    for each in found.objects:
        text = "\n".join(_strings(each)).replace("\\n", "\n")  # one may be a whole object as JSON
        where = f"{each['kind']} {_space(each)}/{name_of(each)}"
        shown = {words[word] for word in WORD.findall(text) if word in words}
        wrong += [f"{where} holds a value of Secret {of}" for of in sorted(shown)]
        if PRIVATE_KEY.search(text):
            wrong.append(f"{where} holds a private key")
    told = f"{len(words)} values of {len(found.secrets)} Secrets in none of {len(found.objects)} objects"
    return judged(SECRETS, wrong, told, causes.EXPOSED)


def hidden(text: str) -> Iterator[str]:
    """What must be told to nobody: passwords as kit derives them, a value that is nothing but one long
    word, lines of private keys. A setting's long name, which a Secret may hold too, is none of these."""
    keys = " ".join(PRIVATE.findall(text))
    for word in WORD.findall(text):
        if _random(word) and (len(word) == DERIVED or word == text.strip() or word in keys):
            yield word


def _random(word: str) -> bool:
    """Capitals, small letters and digits. No name of Kubernetes has capitals."""
    return all(any(kind(letter) for letter in word) for kind in (str.isupper, str.islower, str.isdigit))


def _strings(value: Any) -> Iterator[str]:
    """Every text of an object, its keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, content in value.items():
            yield str(key)
            yield from _strings(content)
    elif isinstance(value, list):
        for content in value:
            yield from _strings(content)


def pool(found: RunningObjects) -> Iterator[Check]:
    """On hosts that are marked for cards there is only what says that it may be there. Nothing is said
    where no host is marked."""
    marked = {name_of(n) for n in found.of("Node") for taint in n["spec"].get("taints") or () if taint["key"] == CARDS}
    if not marked:
        return
    there = [pod for pod in found.tenants() if pod["spec"].get("nodeName") in marked]
    wrong = [f"{_told(pod)} is on {pod['spec']['nodeName']} and asks for no card" for pod in there if not _asks(pod)]
    told = f"{len(there)} pods on {', '.join(sorted(marked))}, each of which tolerates {CARDS}"
    yield judged(POOL, wrong, told, causes.OUT_OF_PLACE)


def _asks(pod: Object) -> bool:
    tolerated = pod["spec"].get("tolerations") or ()
    return any(t.get("key", CARDS) == CARDS and (t.get("key") or t.get("operator") == "Exists") for t in tolerated)


def containers_of(pod: Object) -> Iterator[Object]:
    """All of a pod's, those that come first, too."""
    return _of(pod["spec"])


def _of(spec: Object) -> Iterator[Object]:
    yield from spec.get("containers") or ()
    yield from spec.get("initContainers") or ()


def _told(pod: Object, container: Object | None = None) -> str:
    where = f"{_space(pod)}/{name_of(pod)}"
    return f"{where}, container {container['name']}," if container else where


def _ours(item: Object) -> bool:
    return PART_OF.items() <= labels_of(item).items()


def _space(item: Object) -> str:
    return str(item["metadata"].get("namespace", ""))
