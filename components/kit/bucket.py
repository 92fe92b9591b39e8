"""The S3 store as a pod of the image `clients` asks it.

A room's own folder has this very file by a link, so that its pods have it, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import urllib3
from minio import Minio


def client(folder: Path, told: Mapping[str, str]) -> Minio:
    """Made anew each time it is needed: a new password is in the file by then.

    `folder` holds username, password and, for an authority of the site's own, ca.crt; `told` names address and region.
    """
    ca = folder / "ca.crt"
    pool = urllib3.PoolManager(
        cert_reqs="CERT_REQUIRED",
        ca_certs=str(ca) if ca.is_file() else None,
        timeout=urllib3.Timeout(connect=3, read=30),
        retries=urllib3.Retry(3, backoff_factor=0.3, status_forcelist=[500, 502, 503, 504]),
    )
    user, password = ((folder / name).read_text(encoding="utf-8").strip() for name in ("username", "password"))
    return Minio(
        endpoint=told["address"], access_key=user, secret_key=password, region=told["region"], http_client=pool
    )
