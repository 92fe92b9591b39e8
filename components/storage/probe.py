"""Volumes as the cluster's admin sees them: whose they are, on which host, and what waits for one.

That what is written there comes back, the stores' own probes show: every one of their writes lies on a volume.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from components.kit.manifests import PART_OF, labels_of, name_of
from components.kit.probing import Check, Object, judged
from components.kit.settings import VOLUME_ROOM

KINDS = ("persistentvolumes", "persistentvolumeclaims", "nodes")
CLAIMS = "storage: every claim has a volume of its own"
VOLUMES = "storage: every volume is on a host that is there"
CAUSE = "not-whole-again"


def judge(objects: Sequence[Object]) -> Iterator[Check]:
    """Claims of the platform, whoever makes their volumes; volumes of the inventory, where it sets some aside."""
    volumes = {name_of(each): each for each in objects if each["kind"] == "PersistentVolume"}
    claims = [each for each in objects if each["kind"] == "PersistentVolumeClaim"]
    hosts = {name_of(each) for each in objects if each["kind"] == "Node"}
    if claims:
        wrong = [text for claim in claims if (text := unfit(claim, volumes))]
        yield judged(CLAIMS, wrong, f"{len(claims)} claims are bound", CAUSE)
    mine = [each for each in volumes.values() if (PART_OF.keys() | {VOLUME_ROOM}) <= labels_of(each).keys()]
    if mine:
        wrong = [text for each in mine if (text := lost(each, hosts))]
        left = [told(each) for each in mine if phase(each) == "Released"]
        kept = f"; with data that nobody claims: {', '.join(left)}" if left else ""
        yield judged(VOLUMES, wrong, f"{len(mine)} volumes{kept}", CAUSE)


def unfit(claim: Object, volumes: Mapping[str, Object]) -> str:
    """What is wrong with a claim, in words; nothing where it has what it asks for."""
    who = f"claim {claim['metadata']['namespace']}/{name_of(claim)}"
    spec = claim["spec"]
    match = (spec.get("selector") or {}).get("matchLabels") or {}
    if phase(claim) != "Bound":
        return f"{who} is {phase(claim)}: {waiting(spec.get('storageClassName', ''), match, volumes.values())}"
    volume = volumes.get(spec["volumeName"])
    if volume is None:
        return f"{who} has volume {spec['volumeName']}, which is not there"
    holder = (volume["spec"].get("claimRef") or {}).get("uid")
    if holder != claim["metadata"]["uid"]:
        return f"{who} has volume {name_of(volume)}, which is another claim's"
    class_ = volume["spec"].get("storageClassName", "")
    if class_ != spec.get("storageClassName", "") or not match.items() <= labels_of(volume).items():
        return f"{who} has volume {told(volume)}, which is not what it asks for"
    return ""


def waiting(class_: str, match: Mapping[str, str], volumes: Iterable[Object]) -> str:
    """Why a claim may find no volume."""
    fit = [v for v in volumes if v["spec"].get("storageClassName") == class_ and match.items() <= labels_of(v).items()]
    free = [told(v) for v in fit if phase(v) == "Available"]
    left = [told(v) for v in fit if phase(v) == "Released"]
    if free:
        return f"{', '.join(free)} would do, so its pod is what waits"
    if left:
        return f"{', '.join(left)} would do and holds an older life's data (step begin-anew of the RUNBOOK)"
    return f"no volume of class {class_ or 'none'} is free for it"


def lost(volume: Object, hosts: set[str]) -> str:
    """A volume that nobody can use."""
    if phase(volume) == "Failed":
        return f"{told(volume)} failed: {volume['status'].get('message', 'no reason is given')}"
    host = host_of(volume)
    return f"{told(volume)} is on {host}, which the cluster does not have" if host and host not in hosts else ""


def host_of(volume: Object) -> str:
    """Where a local volume is; "" of one that is nowhere in particular."""
    terms = volume["spec"].get("nodeAffinity", {}).get("required", {}).get("nodeSelectorTerms") or [{}]
    values = [v for each in terms[0].get("matchExpressions", ()) for v in each.get("values", ())]
    return str(values[0]) if len(values) == 1 else ""


def told(volume: Object) -> str:
    """With the room that it is for."""
    return f"{name_of(volume)} (room {labels_of(volume).get(VOLUME_ROOM, 'none')})"


def phase(item: Object) -> str:
    """As Kubernetes says it."""
    return str(item.get("status", {}).get("phase", "unknown"))
