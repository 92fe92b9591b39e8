"""Certificates of all stores renewed, and ended, under audited writes.

What is to be seen: a renewal rolls the members and loses nothing; where nobody renewed, everybody
is kept out (and not let in unchecked), nothing is lost, and one `make up` makes all whole again.
"""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from components.kit.probing import Check
from tests import lab
from tests.certificates import ending
from tests.rolling import audited, damage, roll
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.campaign
PKI = lab.STATE / "pki"
LEFT_S = 200.0  # of the planted leaves: long enough to roll every member of every store


def stores_tls() -> list[str]:
    return sorted(path.stem for path in PKI.glob("*-tls.crt"))


def ways_in() -> lab.Done:
    return lab.validate("safety", "--steps", "safety/*/ways-in", timeout=900)


def test_a_renewal_loses_nothing(tmp_path: Path) -> None:
    before = {name: (PKI / f"{name}.crt").read_bytes() for name in stores_tls()}
    with audited(tmp_path) as found:
        for name in before:
            (PKI / f"{name}.crt").unlink()
        done = lab.make_up()
        assert done.returncode == 0, lab.told(done)
    assert before
    assert all((PKI / f"{name}.crt").read_bytes() != old for name, old in before.items())
    report(found)


def test_ended_certificates_keep_everybody_out_until_make_up(tmp_path: Path) -> None:
    with audited(tmp_path) as found:
        end = datetime.now(UTC) + timedelta(seconds=LEFT_S)
        for name in stores_tls():
            _replace(name, ending(PKI / f"{name}.crt", end))
        roll()
        assert datetime.now(UTC) < end, "LEFT_S is too short for this machine"
        wait_for("the certificates to end", lambda: time.time() > end.timestamp() or None, timeout=LEFT_S + 10, every=1)
        closed = ways_in()
        assert closed.returncode == 1, lab.told(closed)
        assert "expired" in closed.stdout, lab.told(closed)
        for name in stores_tls():  # as they would be on a site where nobody ran `make up`
            (PKI / f"{name}.crt").write_bytes(ending(PKI / f"{name}.crt", end))
        begin = time.monotonic()
        done = lab.make_up()
        assert done.returncode == 0, lab.told(done)
        print(f"make up: whole again after {time.monotonic() - begin:.0f} s")
    opened = ways_in()
    assert opened.returncode == 0, lab.told(opened)
    report(found)


def report(found: dict[str, Check]) -> None:
    for store, check in found.items():
        print(f"{store}: {check.detail}")
    assert damage(found) == {}


def _replace(name: str, chain: bytes) -> None:
    """In its Secret, as the manager that made it: another one's fields would stay in its way."""
    cluster, namespace = lab.cluster(), lab.found().platform.namespace
    secret = cluster.json("-n", namespace, "get", "secret", name, "--show-managed-fields")
    manager = secret["metadata"].pop("managedFields")[0]["manager"]
    for key in ("uid", "resourceVersion", "creationTimestamp"):
        del secret["metadata"][key]
    secret["data"]["tls.crt"] = base64.b64encode(chain).decode()
    cluster.run("apply", "--server-side", f"--field-manager={manager}", "-f", "-", stdin=json.dumps(secret).encode())
