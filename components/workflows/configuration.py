"""The controller's own file. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from components.kit.connection import Connection, connection
from components.kit.manifests import WHOLE_NAMES, pod_security
from components.kit.settings import SiteFacts
from components.workflows.names import DATABASE, EXECUTOR, METRICS_PORT, OPEN, ROOM, STEP, STEP_LABELS, STEP_UID, STORE

if TYPE_CHECKING:  # they need this module for the chart's values
    from components.workflows.settings import Settings

HOUR = 3600


def database(site: SiteFacts) -> Connection:
    """Where ended workflows go."""
    return connection(site, DATABASE, ROOM)


def store(site: SiteFacts) -> Connection:
    """Where artefacts go."""
    return connection(site, STORE, ROOM)


def text(settings: Settings, site: SiteFacts) -> str:
    """As the controller reads it: JSON is YAML, too."""
    wanted = {
        # A workflow may only name a template. Who writes templates is said by the cluster's rights.
        "workflowRestrictions": {"templateReferencing": "Secure"},
        "parallelism": settings.at_once,
        # Plain: the engine would make a certificate that nobody can verify. Numbers only.
        "metricsConfig": {"enabled": True, "port": METRICS_PORT, "secure": False},
        "persistence": _persistence(settings, site),
        "artifactRepository": _artefacts(site),
        "executor": _executor(settings),
        "mainContainer": _main(settings),
        "workflowDefaults": {"spec": _defaults(settings)},
        # A pod that never ran a line (its host died first) is made again, unasked.
        "failedPodRestart": {"enabled": True, "maxRestarts": 3},
    }
    return json.dumps(wanted, indent=2, sort_keys=True)


def _persistence(settings: Settings, site: SiteFacts) -> dict[str, Any]:
    used = database(site)
    host, port = used.endpoint("postgres").hosts()[0]
    return {
        "archive": True,
        "archiveTTL": f"{settings.archive_days}d",
        "clusterName": site.site,
        "connectionPool": {"maxIdleConns": 0, "maxOpenConns": OPEN},
        "postgresql": {
            "host": host,
            "port": port,
            "database": ROOM,
            "tableName": "argo_workflows",
            "userNameSecret": {"name": used.secret_ref, "key": "username"},
            "passwordSecret": {"name": used.secret_ref, "key": "password"},
            "ssl": True,
            "sslMode": "verify-full",
        },
    }


def _artefacts(site: SiteFacts) -> dict[str, Any]:
    used = store(site)
    place: dict[str, Any] = {
        # The library takes one address; the Service finds a member that lives.
        "endpoint": used.endpoint("s3-service").address.split(",")[0],
        "bucket": ROOM,
        "region": used.region,
        "insecure": False,
        "keyFormat": "{{workflow.namespace}}/{{workflow.name}}/{{pod.name}}",
        "accessKeySecret": {"name": used.secret_ref, "key": "username"},
        "secretKeySecret": {"name": used.secret_ref, "key": "password"},
    }
    if used.ca_ref:
        # The engine mounts Secrets only: an authority is there under the same name as one.
        place["caSecret"] = {"name": used.ca_ref, "key": "ca.crt"}
    return {"archiveLogs": True, "s3": place}


def _executor(settings: Settings) -> dict[str, Any]:
    return {
        "name": "executor",
        "imagePullPolicy": "IfNotPresent",
        "resources": settings.executor_resources.helm(),
        "securityContext": container_security(),
    }


def _main(settings: Settings) -> dict[str, Any]:
    return {"name": "main", "resources": settings.step_resources.helm(), "securityContext": container_security()}


def container_security() -> dict[str, Any]:
    """As the Pod Security level `restricted` asks. The root stays writable: a step's code may write
    beside its volumes, and the engine's own helpers unpack artefacts there."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}


def _defaults(settings: Settings) -> dict[str, Any]:
    """Of every workflow whose template says nothing else."""
    return {
        # The step itself has no token; its helper has one, for nothing but the step's result.
        "serviceAccountName": STEP,
        "automountServiceAccountToken": False,
        "dnsConfig": WHOLE_NAMES,
        "executor": {"serviceAccountName": EXECUTOR},
        "podMetadata": {"labels": STEP_LABELS},
        "securityContext": pod_security(STEP_UID),
        "activeDeadlineSeconds": settings.longest_hours * HOUR,
        "ttlStrategy": {"secondsAfterCompletion": settings.kept_hours * HOUR},
        # Their logs are in S3 by then; of those that failed somebody may want to see more.
        "podGC": {"strategy": "OnPodSuccess"},
    }
