"""The OIDC issuer as its clients see it. Standard library and kit.probing only."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import re
import socket
import ssl
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode, urlsplit

from components.kit.asking import Place, places, required
from components.kit.probing import Check, Target, attempt

CONNECT_SECONDS, READ_SECONDS = 2.0, 20.0
LONGEST_LIFE = 3600  # seconds of a token: whoever may do nothing any more is out after this
#: What stands before the digest in a signature RS256 (RFC 8017, 9.2): "this is SHA-256".
SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")

Found = tuple[bool, str, Mapping[str, object]]


class NotSignedError(Exception):
    """A token's signature is not the issuer's."""


def offers(target: Target, protocol: str) -> bool:
    """Whether the contract has such an endpoint; an issuer that is not ours has only one."""
    return protocol in {endpoint.protocol for endpoint in target.endpoints}


def service(target: Target) -> Place:
    """Where every client asks."""
    host, port = target.endpoint("oidc").hosts()[0]
    return host, port, host


def members(target: Target) -> list[Place]:
    """The replicas one by one."""
    return places(target, "oidc-members" if offers(target, "oidc-members") else "oidc")


def ask(target: Target, place: Place, path: str, form: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """One request over verified TLS: the status and what was said; a form is posted."""
    address, port, name = place
    trusted = ssl.create_default_context(cafile=target.ca_file)
    line = http.client.HTTPSConnection(name, port, context=trusted)
    try:
        plain = socket.create_connection((address, port), target.within(CONNECT_SECONDS))
        line.sock = trusted.wrap_socket(plain, server_hostname=name)
        line.sock.settimeout(READ_SECONDS)
        if form is None:
            line.request("GET", path)
        else:
            head = {"Content-Type": "application/x-www-form-urlencoded"}
            line.request("POST", path, urlencode(form).encode(), head)
        answer = line.getresponse()
        return answer.status, answer.read()
    finally:
        line.close()


def document(target: Target, place: Place) -> dict[str, Any]:
    """The discovery document, as this place tells it."""
    path = f"{urlsplit(required(target, 'issuer')).path}/.well-known/openid-configuration"
    status, said = ask(target, place, path)
    if status != http.HTTPStatus.OK:
        raise ConnectionError(f"{path} answers {status}")
    found: dict[str, Any] = json.loads(said)
    return found


def path_of(target: Target, key: str) -> str:
    """Where an endpoint lies below its server: the contract names one that all replicas have."""
    return urlsplit(required(target, key)).path


def token(target: Target, place: Place, password: str | None = None) -> tuple[int, dict[str, Any]]:
    """Asked for with the probe's own name and secret."""
    form = {
        "grant_type": "client_credentials",
        "client_id": target.username,
        "client_secret": password or target.password,
    }
    status, said = ask(target, place, path_of(target, "token_endpoint"), form)
    found: dict[str, Any] = json.loads(said)
    return status, found


def given(target: Target, place: Place) -> str:
    """A token, or why there is none."""
    status, said = token(target, place)
    if status != http.HTTPStatus.OK:
        raise PermissionError(f"no token: {status} ({said.get('error_description')})")
    return str(said["access_token"])


def unpacked(text: str) -> bytes:
    """Base64 as tokens have it: without its padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def signed(word: str, keys: Mapping[str, Any]) -> dict[str, Any]:
    """The token's claims, once its signature is that of one of the keys."""
    head, body, mark = word.split(".")
    header = json.loads(unpacked(head))
    if header["alg"] != "RS256":
        raise NotSignedError(f"signed by {header['alg']}, not by RS256")
    key = next((k for k in keys["keys"] if k["kid"] == header["kid"]), None)
    if key is None:
        raise NotSignedError(f"signed with key {header['kid']}, which the issuer does not name")
    modulus, exponent = (int.from_bytes(unpacked(key[part]), "big") for part in ("n", "e"))
    length = (modulus.bit_length() + 7) // 8
    seen = pow(int.from_bytes(unpacked(mark), "big"), exponent, modulus).to_bytes(length, "big")
    end = SHA256 + hashlib.sha256(f"{head}.{body}".encode()).digest()
    wanted = b"\x00\x01" + b"\xff" * (length - len(end) - 3) + b"\x00" + end
    if not hmac.compare_digest(seen, wanted):
        raise NotSignedError("the signature does not fit the token")
    claims: dict[str, Any] = json.loads(unpacked(body))
    return claims


def active(target: Target, place: Place, word: str) -> bool:
    """Whether this replica holds the token good."""
    form = {"client_id": target.username, "client_secret": target.password, "token": word}
    path = f"{path_of(target, 'token_endpoint')}/introspect"
    status, said = ask(target, place, path, form)
    if status != http.HTTPStatus.OK:
        raise PermissionError(f"introspection answers {status}")
    return bool(json.loads(said).get("active"))


def _discovery(target: Target) -> Found:
    """Every replica names the one issuer, and keys and tokens where the contract has them."""
    issuer = required(target, "issuer")
    wrong: list[str] = []
    for place in [service(target), *members(target)]:
        told = document(target, place)
        pairs = {"issuer": (told["issuer"], issuer)}
        for key in ("jwks_uri", "token_endpoint"):
            pairs[key] = (urlsplit(told[key]).path, path_of(target, key))
        for key, (seen, wanted) in pairs.items():
            if seen != wanted:
                wrong.append(f"{place[0]} says {key} {seen}, not {wanted}")
    return not wrong, "; ".join(wrong) or f"all name {issuer}", {"issuer": issuer}


def _token(target: Target) -> Found:
    """From the contract's address; signature, issuer, audience, end and roles are right."""
    place = service(target)
    word = given(target, place)
    _, keys = ask(target, place, path_of(target, "jwks_uri"))
    claims = signed(word, json.loads(keys))
    audience = claims.get("aud", [])
    life = claims["exp"] - time.time()
    right = {
        "issuer": claims["iss"] == required(target, "issuer"),
        "audience": target.username in ([audience] if isinstance(audience, str) else audience),
        "end": 0 < life <= LONGEST_LIFE,
        "roles": "viewer" in _claim(claims, required(target, "roles_claim")),
    }
    wrong = [what for what, holds in right.items() if not holds]
    told = f"wrong: {', '.join(wrong)}" if wrong else f"signed, good for {life:.0f} s, roles in it"
    seen = {key: claims.get(key) for key in ("iss", "aud", "azp", "exp")}
    return not wrong, told, seen


def _claim(claims: Mapping[str, Any], path: str) -> list[Any]:
    found: Any = claims
    for part in path.split("."):
        found = found.get(part, {}) if isinstance(found, Mapping) else {}
    return list(found)


def _each_other(target: Target) -> Found:
    """A token of every replica is held good by every other one."""
    found = members(target)
    words = [given(target, place) for place in found]
    refused = [
        f"{found[to][0]} refuses a token of {found[of][0]}"
        for of, word in enumerate(words)
        for to in range(len(found))
        if (to != of or len(found) == 1) and not active(target, found[to], word)
    ]
    detail = "; ".join(refused) or f"{len(found)} replicas take each other's tokens"
    return not refused, detail, {"replicas": len(found)}


def _refused(target: Target) -> Found:
    """A wrong secret, an altered token, a way back to a stranger, people who enrol themselves."""
    place = service(target)
    status, said = token(target, place, f"not-{uuid.uuid4().hex}")
    head, body, mark = given(target, place).split(".")
    altered = ".".join((head, body, mark[:8] + ("A" if mark[8] != "A" else "B") + mark[9:]))
    login = f"{urlsplit(required(target, 'issuer')).path}/protocol/openid-connect"
    query = urlencode(
        {
            "client_id": target.username,
            "response_type": "code",
            "scope": "openid",
            "redirect_uri": "https://stranger.invalid/",
        }
    )
    answers = {
        "wrong secret": f"{status} {said.get('error', 'token')}",
        "altered token": "good" if active(target, place, altered) else "not good",
    }
    wanted: dict[str, tuple[str, ...]] = {
        "wrong secret": ("401 unauthorized_client", "401 invalid_client"),
        "altered token": ("not good",),
    }
    if offers(target, "oidc-members"):  # these ways are Keycloak's
        for what, way in (("stranger", "auth"), ("enrolment", "registrations")):
            answers[what] = str(ask(target, place, f"{login}/{way}?{query}")[0])
            wanted[what] = ("400", "403", "404")
    bad = [what for what, answer in answers.items() if answer not in wanted[what]]
    return not bad, ", ".join(f"{what}: {said}" for what, said in answers.items()), answers


def smoke(target: Target) -> Iterator[Check]:
    """What a page, a service and a stranger get."""
    yield attempt("identity: the issuer is the one of the contract", lambda: _discovery(target))
    yield attempt("identity: a token, signed and for the right one", lambda: _token(target))
    yield attempt("identity: replicas take each other's tokens", lambda: _each_other(target))
    yield attempt("identity: strangers are refused", lambda: _refused(target))


def primary(target: Target) -> str | None:
    """There is none: every replica serves every request."""
    del target
    return None


def _seen(target: Target, place: Place) -> str:
    """What is wrong with a replica: not ready, or alone; "" if nothing is."""
    try:
        status, _ = ask(target, place, "/health/ready")
        if status != http.HTTPStatus.OK:
            return f"not ready ({status})"
        _, text = ask(target, place, "/metrics")
    except (OSError, http.client.HTTPException) as error:
        return f"does not answer ({type(error).__name__})"
    found = re.search(rb"^vendor_cluster_size\{[^}]*\} (\S+)", text, re.MULTILINE)
    return f"{float(found[1]) if found else 0:.0f}"


def _whole(target: Target) -> Found:
    """Every replica is ready and sees all the others."""
    if not offers(target, "oidc-management"):
        return _discovery(target)
    wanted = required(target, "replicas")
    found = places(target, "oidc-management")
    with ThreadPoolExecutor(len(found)) as threads:
        seen = list(threads.map(lambda place: _seen(target, place), found))
    states = {address: state for (address, _, _), state in zip(found, seen, strict=True)}
    bad = [
        f"{address}: {f'sees {state} of {wanted}' if state.isdigit() else state}"
        for address, state in states.items()
        if state != wanted
    ]
    if len(states) != int(wanted):
        bad.append(f"{len(states)} replicas of {wanted}")
    detail = "; ".join(bad) or f"{wanted} replicas ready, each sees all"
    return not bad, detail, {"states": states}


def whole(target: Target) -> Check:
    """Redundancy complete, as each replica tells it."""
    return attempt("identity: whole", lambda: _whole(target))
