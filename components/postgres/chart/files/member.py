"""Starts one member: writes Patroni's configuration with the mounted passwords, becomes Patroni."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

AUTH = Path("/etc/apadana/auth")
CA = "/etc/apadana/tls/ca.crt"
TEMPLATE = Path("/opt/apadana/patroni.yaml")
TARGET = Path("/run/postgresql/patroni.yml")


def secret(user: str) -> str:
    """One password of the auth Secret."""
    path = AUTH / f"{user}-password"
    text = path.read_text(encoding="utf-8").strip()
    if not text:
        raise SystemExit(f"{path} is empty: the auth Secret lacks the password of {user}")
    return text


def complete(config: dict[str, Any]) -> dict[str, Any]:
    """The member's own names and the passwords."""
    pod, service = os.environ["POD_NAME"], os.environ["MEMBERS_SERVICE"]
    host = f"{pod}.{service}"
    config["name"] = pod
    config["restapi"]["connect_address"] = f"{host}:8008"
    # The REST interface is read by everyone who may connect; changing anything needs this.
    config["restapi"]["authentication"] = {"username": "patroni", "password": secret("patroni")}
    config["kubernetes"]["pod_ip"] = os.environ["POD_IP"]
    config["postgresql"]["connect_address"] = f"{host}:5432"
    # Members prove themselves to each other by name, not only by password.
    tls = {"sslmode": "verify-full", "sslrootcert": CA}
    config["postgresql"]["authentication"] = {
        # Patroni reaches its own server by the socket (peer); no superuser password is needed.
        "superuser": {"username": "postgres"},
        "replication": {"username": os.environ["REPLICATOR"], "password": secret("replicator"), **tls},
        "rewind": {"username": os.environ["REWINDER"], "password": secret("rewind"), **tls},
    }
    return config


def main() -> None:
    """Write it readable for this user alone, then go on as Patroni."""
    config = complete(yaml.safe_load(TEMPLATE.read_text(encoding="utf-8")))
    os.umask(0o077)
    TARGET.write_text(yaml.safe_dump(config), encoding="utf-8")
    # Patroni, as the pod's first process, takes leave of it when it ends.
    subprocess.Popen(["/usr/bin/python3", "/opt/apadana/founding.py"])
    os.execv("/usr/bin/patroni", ["patroni", str(TARGET)])


if __name__ == "__main__":
    main()
