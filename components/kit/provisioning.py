"""What is asked for at a store that the client runs, made by a job: with an account that may make it.

A room of stores says what that is in its `provisioning.py`::

    def wanted(settings: Settings, site: SiteFacts) -> dict[str, Any]       # wanted.json of the job
    def statements(settings: Settings, site: SiteFacts) -> Iterator[str]    # the same for a person who types it

and its folder `provision/` is the job's program, `python3 -m components.<room>.provision` in the image `clients`
(kit.telling says what is mounted). Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from components.kit.connection import connection
from components.kit.discovery import room as find
from components.kit.manifests import (
    WHOLE_NAMES,
    Manifest,
    container_security,
    dns_egress,
    labels,
    manifest,
    pod_security,
    policy,
)
from components.kit.programs import LARGEST
from components.kit.providing import ProviderSettings, Provision
from components.kit.settings import Resources, SiteFacts

ROLE = "provision"
UID = 10001
MOUNTS, CODE = "/etc/apadana", "/opt/apadana"
RESOURCES = Resources(cpu_millicores=50, memory_mib=128, cpu_limit_millicores=500)
TRIES, LONGEST_S = 3, 900
WRONG = 2  # how the program ends where trying again is of no use (kit.telling)


def before_secret(room: str) -> str:
    """The Secret with the passwords of the epoch before."""
    return f"{room}-{ROLE}-before"


def manifests(settings: ProviderSettings, account: Provision, site: SiteFacts, checksum: str) -> Iterator[Manifest]:
    """The program with what is asked for, the pod's fence, the job. `checksum`: of the passwords."""
    room = settings.room_name()
    way = connection(site, room, room)
    data = {"wanted.json": json.dumps(wanted(settings, site), sort_keys=True), **code(room)}
    if (size := sum(map(len, data.values()))) > LARGEST:
        raise ValueError(f"{room}: {size} bytes of program and wishes, and at most {LARGEST} go into a ConfigMap")
    digest = hashlib.sha256(json.dumps([data, checksum, account.secret_ref, site.image("clients")]).encode())
    # A job can't be changed, and the same one is not run twice.
    name = f"{room}-{ROLE}-{digest.hexdigest()[:8]}"
    marks = labels(room, ROLE)
    yield manifest("v1", "ConfigMap", f"{room}-{ROLE}", namespace=site.namespace, marks=marks, data=data)
    out = [dns_egress(), way.way(site.namespace)]
    yield policy(f"{room}-{ROLE}", site.namespace, marks, ingress=[], egress=out)
    yield _job(name, settings, account, site)


def wanted(settings: ProviderSettings, site: SiteFacts) -> dict[str, Any]:
    """All that the program is told; no secret is in it."""
    room = settings.room_name()
    way = connection(site, room, room)
    asked: dict[str, Any] = find(room).module("provisioning").wanted(settings, site)
    return asked | {
        "address": way.address,
        "connect_seconds": way.store(room).connect_seconds,
        "region": way.region,
        "platform": f"{site.site}/{site.namespace}",
    }


def code(room: str) -> dict[str, str]:
    """The program's files by name."""
    return {file.name: file.read_text(encoding="utf-8") for file in sorted((find(room).path / ROLE).glob("*.py"))}


def _job(name: str, settings: ProviderSettings, account: Provision, site: SiteFacts) -> Manifest:
    room = settings.room_name()
    marks = labels(room, ROLE)
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "dnsConfig": WHOLE_NAMES,
        "securityContext": pod_security(UID),
        "containers": [_container(room, site)],
        "volumes": [
            {
                "name": "code",
                "configMap": {"name": f"{room}-{ROLE}", "items": [{"key": f, "path": f} for f in code(room)]},
            },
            {"name": "given", "projected": {"defaultMode": 0o440, "sources": list(_sources(settings, account, site))}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}},
        ],
    }
    if site.priority_classes:
        pod["priorityClassName"] = settings.priority
    spec = {
        "backoffLimit": TRIES,
        "activeDeadlineSeconds": LONGEST_S,
        # What is otherwise than wanted is so the next time, too.
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [WRONG]}}]},
        "template": {"metadata": {"labels": marks | {f"apadana.io/uses-{room}": "true"}}, "spec": pod},
    }
    made = manifest("batch/v1", "Job", name, namespace=site.namespace, marks=marks, spec=spec)
    # One that failed is made anew by the next run: until then somebody may have mended what it told.
    made["metadata"]["annotations"] = {"pulumi.com/replaceUnready": "true"}
    return made


def _container(room: str, site: SiteFacts) -> dict[str, Any]:
    mounted = {"code": f"{CODE}/components/{room}/{ROLE}", "given": MOUNTS, "tmp": "/tmp"}  # noqa: S108  of the container
    return {
        "name": ROLE,
        "image": site.image("clients"),
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", f"components.{room}.{ROLE}"],
        "env": [{"name": "PYTHONPATH", "value": CODE}, {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}],
        "securityContext": container_security(UID),
        "resources": RESOURCES.helm(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": name, "mountPath": path} for name, path in mounted.items()],
    }


def _sources(settings: ProviderSettings, account: Provision, site: SiteFacts) -> Iterator[dict[str, Any]]:
    """The account, each user's log-in, and the authority beside each of them."""
    room, ca = settings.room_name(), settings.external.ca_ref if settings.external else None
    yield {"configMap": {"name": f"{room}-{ROLE}", "items": [{"key": "wanted.json", "path": "wanted.json"}]}}
    places = {"account": account.secret_ref}
    places |= {f"users/{owner}": settings.login_secret(owner) for owner in settings.owners(site)}
    for at, secret in places.items():
        items = [{"key": key, "path": f"{at}/{key}"} for key in ("username", "password")]
        yield {"secret": {"name": secret, "items": items}}
        if ca:
            yield {"configMap": {"name": ca, "items": [{"key": "ca.crt", "path": f"{at}/ca.crt"}]}}
    for key in ("database", "service_name"):  # where the account's Secret says it
        item = {"key": key, "path": f"account/{key}"}
        yield {"secret": {"name": account.secret_ref, "items": [item], "optional": True}}
    if settings.epoch > 1 and (made := settings.made_owners(site)):
        items = [{"key": owner, "path": f"before/{owner}"} for owner in made]
        yield {"secret": {"name": before_secret(room), "items": items}}
