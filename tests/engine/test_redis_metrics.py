"""What shows Valkey's figures, with the rights and the settings that it has in a pod, on real processes."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from components.kit import pki
from components.redis import settings as room
from tests import ports
from tests.engine import stores
from tests.engine.built import built
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.engine
CHART = Path(str(room.__file__)).parent / "chart"
RIGHTS = re.compile(r"^user metrics on #\$\(hash metrics\) (.+)$", re.MULTILINE)


def port_of(made: stores.Platform, name: str = "redis-0") -> str:
    """What a member listens at."""
    text = (made.state / name / "server.conf").read_text()
    return str(re.findall(r"^tls-port (\d+)", text, re.MULTILINE)[0])


def mounted(made: stores.Platform) -> dict[str, Path]:
    """The folders of the container, by what its scripts call them."""
    folders = {name: made.state / "pod" / name for name in ("AUTH", "TLS", "RUN", "PROGRAMS")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    tls = {"tls.crt": made.leaf.certificate, "tls.key": made.leaf.key, "ca.crt": made.state / "pki/ca.crt"}
    for name, source in tls.items():
        (folders["TLS"] / name).write_bytes(Path(source).read_bytes())
    (folders["AUTH"] / "metrics-password").write_text(made.password)
    (folders["PROGRAMS"] / "redis-exporter").symlink_to(built("bin/*/redis-exporter"))
    return folders


def start(made: stores.Platform) -> list[str]:
    """The start of the container, with this machine's folders and ports."""
    folders, lines = mounted(made), []
    for name in ("lib.sh", "metrics.sh"):
        text = (CHART / "files" / name).read_text()
        for variable in ("AUTH", "TLS", "RUN"):
            text = re.sub(rf"^{variable}=.*$", f"{variable}={folders[variable]}", text, flags=re.MULTILINE)
        text = text.replace("/opt/apadana", str(folders["RUN"])).replace(":6379", f":{port_of(made)}")
        lines.append(folders["RUN"] / name)
        lines[-1].write_text(text)
    return ["env", f"PATH={folders['PROGRAMS']}:{os.environ['PATH']}", "sh", str(lines[-1])]


@contextmanager
def shown(made: stores.Platform, port: int) -> Iterator[None]:
    """The exporter, with a user that has the rights of the chart's and nothing else."""
    (rights,) = RIGHTS.findall((CHART / "files" / "valkey.sh").read_text())
    line: Any = redis.Redis(
        host=ports.HOST,
        port=int(port_of(made)),
        username="probe",
        password=made.password,
        ssl=True,
        ssl_ca_certs=str(made.state / "pki" / "ca.crt"),
    )
    line.execute_command("ACL", "SETUSER", "metrics", "on", f">{made.password}", *rights.split())
    # Its member's name: POD_NAME.MEMBERS_SERVICE.
    pod = {"POD_NAME": "127.0", "MEMBERS_SERVICE": "0.1", "REDIS_EXPORTER_WEB_LISTEN_ADDRESS": f"{ports.HOST}:{port}"}
    with (made.state / "exporter.log").open("wb") as log:
        process = subprocess.Popen(start(made), env=os.environ | pod, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def page(made: stores.Platform, url: str, *, certificate: bool = True) -> str:
    """What is answered. Raises OSError."""
    context = ssl.create_default_context(cafile=str(made.state / "pki" / "ca.crt"))
    if certificate:
        own = pki.ensure_leaf(made.state / "pki", "prometheus", ["prometheus"], [], usage=pki.Usage.BOTH)
        context.load_cert_chain(own.certificate, own.key)
    with urllib.request.urlopen(url, context=context, timeout=5) as answer:
        return str(answer.read().decode())


def test_the_figures_that_alerts_name_are_shown_to_who_has_a_certificate() -> None:
    with stores.platform() as made:
        stores.add_redis(made)
        port = ports.free_port()
        with shown(made, port):
            url = f"https://{ports.HOST}:{port}/metrics"
            text = wait_for("the figures", lambda: page(made, url), timeout=30, every=0.1, swallow=(OSError,))
            assert "redis_up 1\n" in text
            assert "redis_connected_slaves 1\n" in text
            assert re.search(r'^redis_instance_info\{.*role="master".*\} 1$', text, re.MULTILINE)
            # Commands it has no right to would be errors of each look, in the log and in the member's own count.
            assert 'redis_exporter_last_scrape_error{err=""} 0\n' in text
            assert not re.search(r"^redis_acl_access_denied_cmd_total [1-9]", text, re.MULTILINE)
            with pytest.raises(OSError, match=r"(?i)certificate"):
                page(made, url, certificate=False)
            elsewhere = page(
                made, url.replace("/metrics", f"/scrape?target=rediss://{ports.HOST}:{port_of(made, 'redis-1')}")
            )
            assert "redis_up 0\n" in elsewhere  # it knows no password for the other member
