"""An OIDC issuer on the loopback: what an API server asks of one, and tokens by it."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from components.kit import pki

HOST = "127.0.0.1"


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _number(value: int) -> str:
    return _text(value.to_bytes((value.bit_length() + 7) // 8, "big"))


class Issuer:
    """With a certificate of a CA of its own, until `stop`."""

    def __init__(self, folder: Path) -> None:
        pki.ensure_ca(folder, "issuer")
        leaf = pki.ensure_leaf(folder, "issuer", ["localhost"])
        self.ca, self.key = leaf.ca, rsa.generate_private_key(public_exponent=65537, key_size=2048)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf.certificate, leaf.key)
        self.server = ThreadingHTTPServer((HOST, 0), self._handler())
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_address[1]}/realms/platform"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def token(self, **claims: Any) -> str:
        """Good for a minute; `claims` replace its own."""
        now = int(time.time())
        whole = {"iss": self.url, "aud": "kubernetes", "sub": "1", "iat": now, "exp": now + 60} | claims
        head = {"alg": "RS256", "kid": "one"}
        signed = ".".join(_text(json.dumps(part).encode()) for part in (head, whole))
        return f"{signed}.{_text(self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def _answers(self) -> dict[str, Any]:
        public = self.key.public_key().public_numbers()
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one"}
        known = {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/certs",
            "authorization_endpoint": f"{self.url}/auth",
            "token_endpoint": f"{self.url}/token",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        return {
            "/realms/platform/.well-known/openid-configuration": known,
            "/realms/platform/certs": {"keys": [key | {"n": _number(public.n), "e": _number(public.e)}]},
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = issuer._answers().get(self.path)
                self.send_response(200 if answer else 404)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        return Handler
