"""Releases of models as their clients see them. Standard library and kit only.

The keepers say which releases there are. Of each one that answers it is asked through the gateway,
with a token of the issuer, whether it does; and without one, whether it does not.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from components.kit.asking import Place, places, request, required
from components.kit.probing import Check, Target, attempt
from components.kit.replicas import LEAD_SECONDS, Found, settled

PATHS = "/v2/models"
SERVED = ("serve", "canary", "shadow")
LEADS = re.compile(r"^apadana_models_leads (\S+)$", re.MULTILINE)
#: Of a question that no model takes, and of a path that no release has.
UNKNOWN = "no-such-release"
REFUSED = (401, 403)


def ask(
    target: Target, place: Place, path: str, *, form: Mapping[str, str] | None = None, token: str = ""
) -> tuple[int, bytes]:
    """One request over verified TLS; a form is posted."""
    head = {"Authorization": f"Bearer {token}"} if token else {}
    if form is None:
        answer = request(target, place, "GET", path, headers=head)
    else:
        head["Content-Type"] = "application/x-www-form-urlencoded"
        answer = request(target, place, "POST", path, urlencode(form).encode(), head)
    return answer.status, answer.body


def one(target: Target, protocol: str) -> Place:
    """The Service of an endpoint, under the name that its certificate has."""
    endpoint = target.endpoint(protocol)
    host, port = endpoint.hosts()[0]
    return host, port, endpoint.tls_server_name or host


def token(target: Target) -> str:
    """Of the probe's own account; for models alone."""
    form = {"grant_type": "client_credentials", "client_id": target.username, "client_secret": target.password}
    status, said = ask(target, one(target, "oidc"), urlsplit(required(target, "token_endpoint")).path, form=form)
    if status != http.client.OK:
        raise PermissionError(f"no token: {status} {said[:200].decode(errors='replace')}")
    return str(json.loads(said)["access_token"])


def releases(target: Target) -> dict[str, Any]:
    """What the keepers say, by the release's name."""
    problem: Exception | None = None
    for place in places(target, "models"):
        try:
            status, said = ask(target, place, "/releases")
        except (OSError, http.client.HTTPException) as error:
            problem = error
            continue
        if status == http.client.OK:
            found: dict[str, Any] = json.loads(said)
            return found
        problem = OSError(f"HTTP {status}")
    raise ConnectionError(f"no keeper tells: {problem!r}")


def _keepers(target: Target) -> Found:
    """As many as there should be, each goes round; one leads."""
    wanted = int(required(target, "keepers"))
    told: dict[str, str] = {}
    leaders = 0
    for place in places(target, "models"):
        try:
            status, _ = ask(target, place, "/health")
            _, text = ask(target, place, "/metrics")
            leads = LEADS.search(text.decode())
            leaders += leads is not None and float(leads[1]) == 1
            told[place[0]] = "" if status == http.client.OK else f"/health answers {status}"
        except (OSError, http.client.HTTPException) as error:
            told[place[0]] = f"{type(error).__name__}: {error}"
    wrong = [f"{at}: {text}" for at, text in told.items() if text]
    if len(told) != wanted:
        wrong.append(f"{len(told)} keepers, {wanted} are wanted")
    if leaders != 1:
        wrong.append(f"{leaders} of them lead, 1 is wanted")
    return not wrong, "; ".join(wrong) or f"{wanted} keepers, one leads", {"keepers": told, "leaders": leaders}


def _answers(target: Target) -> Found:
    """Every release that should answer does, for whoever has a token."""
    word, place = token(target), one(target, "inference")
    states, wrong = releases(target), []
    for name, state in sorted(states.items()):
        if state.get("phase") not in SERVED:
            wrong.append(f"{name} {state.get('phase')}: {'; '.join(state.get('why', []))}")
            continue
        for model in (name, *state.get("beside", ())):
            status, said = ask(target, place, f"{PATHS}/{model}/ready", token=word)
            if status != http.client.OK:
                wrong.append(f"{model}: {status} {said[:120].decode(errors='replace')}")
    detail = "; ".join(wrong) or f"{len(states)} releases, each answers"
    return not wrong, detail, {"releases": sorted(states)}


def _fenced(target: Target) -> Found:
    """Without a token no release answers; with one, a name that nobody has leads nowhere."""
    place, wrong = one(target, "inference"), []
    for name in sorted(releases(target)):
        status, _ = ask(target, place, f"{PATHS}/{name}/ready")
        if status not in (*REFUSED, http.client.NOT_FOUND):
            wrong.append(f"{name} answers a stranger: {status}")
    status, _ = ask(target, place, f"{PATHS}/{UNKNOWN}/ready", token=token(target))
    if status != http.client.NOT_FOUND:
        wrong.append(f"{UNKNOWN} answers {status}, 404 is wanted")
    return not wrong, "; ".join(wrong) or "strangers are refused, and there is nothing beside releases", {}


def smoke(target: Target) -> Iterator[Check]:
    """Keepers, answers, refusals."""
    yield attempt(
        "models: every keeper goes round and one leads", lambda: settled(target, LEAD_SECONDS, lambda: _keepers(target))
    )
    yield attempt("models: every release answers through the gateway", lambda: _answers(target))
    yield attempt("models: nobody is answered without a token", lambda: _fenced(target))


def primary(target: Target) -> str | None:
    """None: what answers needs no keeper."""
    del target
    return None


def whole(target: Target) -> Check:
    """All keepers go round."""
    return attempt("models: whole", lambda: _keepers(target))
