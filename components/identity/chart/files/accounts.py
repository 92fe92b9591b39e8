"""Keeps Keycloak's realm as wanted.json says, until it is told to stop.

Its own are: the realm's settings, the platform's roles, the scope that puts them into tokens, the
clients of pages and services, and the users of the settings. Whatever else people make is theirs.
"""

from __future__ import annotations

import http.client
import json
import signal
import ssl
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

READY, ALIVE = Path("/tmp/ready"), Path("/tmp/alive")  # noqa: S108  # the pod's own emptyDir
AUTH, CA, WANTED = Path("/auth"), Path("/tls/ca.crt"), Path("/accounts/wanted.json")
RETRY_SECONDS, ROUND_SECONDS = 2, 300
SECONDS = 20  # that one request may take: the first ones meet a cold server
MARK = "apadana.managed"  # attribute of the clients that are ours
GROUP = "settings"  # of the users that are ours
SCOPE = "platform"
SCOPES = {kind: ["basic", "profile", "email", SCOPE] for kind in ("page", "tool")} | {"service": ["basic", SCOPE]}
#: What the role `admin` may do in the realm's console: people and their rights, nothing of ours.
CONSOLE = ("manage-users", "view-users", "query-users", "query-groups", "view-realm", "view-events")


class RefusedError(Exception):
    """Keycloak answered, and not as hoped; the text holds no secret."""

    def __init__(self, what: str, status: int, body: bytes) -> None:
        self.status = status
        try:
            told = json.loads(body or b"{}")
            said = told.get("errorMessage") or told.get("error_description") or told.get("error")
        except (ValueError, AttributeError):
            said = "no JSON"
        super().__init__(f"{what}: {status} ({said})")


def log(level: str, message: str) -> None:
    """One JSON line; never a password."""
    sys.stdout.write(json.dumps({"level": level, "logger": "accounts", "message": message}) + "\n")
    sys.stdout.flush()


def secret(name: str) -> str:
    """A value of the mounted Secret."""
    return (AUTH / name).read_text(encoding="utf-8").strip()


class Api:
    """Keycloak's administration interface, as the administrator of its first realm."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        trusted = ssl.create_default_context(cafile=str(CA))
        self._line = http.client.HTTPSConnection(host, int(port), timeout=SECONDS, context=trusted)
        self._token = ""

    def close(self) -> None:
        """Let go of the connection."""
        self._line.close()

    def enter(self) -> None:
        """Log in; where only a password of an earlier epoch is taken, it is replaced."""
        user, wanted = secret("admin-user"), secret("admin-password")
        refused: RefusedError | None = None
        for password in (wanted, *reversed(secret("admin-former").split())):
            try:
                self._login(user, password)
            except RefusedError as error:
                refused = refused or error
                continue
            if password != wanted:
                found = self.ask("GET", f"/master/users?exact=true&username={quote(user)}")
                given = {"type": "password", "temporary": False, "value": wanted}
                self.ask("PUT", f"/master/users/{found[0]['id']}/reset-password", given)
                log("INFO", "administrator: password of this epoch written")
                self._login(user, wanted)
            return
        raise refused or LookupError("no password of the administrator is given")

    def _login(self, user: str, password: str) -> None:
        form = {"grant_type": "password", "client_id": "admin-cli", "username": user}
        body = urlencode(form | {"password": password}).encode()
        head = {"Content-Type": "application/x-www-form-urlencoded"}
        where = "/realms/master/protocol/openid-connect/token"
        status, said = self._send("POST", where, body, head)
        if status != http.HTTPStatus.OK:
            raise RefusedError("log-in of the administrator", status, said)
        self._token = json.loads(said)["access_token"]

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One request below /admin/realms; a token that has ended is renewed once."""
        for last in (False, True):
            head = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
            sent = None if body is None else json.dumps(body).encode()
            status, said = self._send(method, f"/admin/realms{path}", sent, head)
            if status != http.HTTPStatus.UNAUTHORIZED or last:
                break
            self._login(secret("admin-user"), secret("admin-password"))
        if status >= http.HTTPStatus.BAD_REQUEST:
            raise RefusedError(f"{method} {path}", status, said)
        return json.loads(said) if said else None

    def _send(self, method: str, path: str, body: bytes | None, head: Mapping[str, str]) -> tuple[int, bytes]:
        self._line.request(method, path, body, dict(head))
        answer = self._line.getresponse()
        return answer.status, answer.read()


def differs(have: Any, want: Any) -> bool:
    """Whether something that is wanted is otherwise; what is not wanted by name does not count."""
    if isinstance(want, dict):
        return not isinstance(have, dict) or any(differs(have.get(k), v) for k, v in want.items())
    if isinstance(want, list):
        return sorted(map(str, have or ())) != sorted(map(str, want))
    return bool(have != want)


class Realm:
    """One realm, brought to what is wanted."""

    def __init__(self, api: Api, wanted: Mapping[str, Any]) -> None:
        self.api, self.wanted, self.name = api, wanted, str(wanted["realm"])

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One request below the realm."""
        return self.api.ask(method, f"/{self.name}{path}", body)

    def itself(self) -> None:
        """The realm and its own settings."""
        want = {"realm": self.name} | self.wanted["settings"]
        try:
            have = self.ask("GET", "")
        except RefusedError as error:
            if error.status != http.HTTPStatus.NOT_FOUND:
                raise
            self.api.ask("POST", "", want)
            log("INFO", f"realm {self.name}: made")
            have = self.ask("GET", "")
        if differs(have, want):
            self.ask("PUT", "", want)
            log("INFO", f"realm {self.name}: settings written")
        profile = self.ask("GET", "/users/profile")
        # Else a first log-in would ask for a name and an address of mail. All are taken out first:
        # any() alone would stop at the first one.
        required = [each.pop("required", None) for each in profile["attributes"]]
        if any(required):
            self.ask("PUT", "/users/profile", profile)

    def roles(self) -> list[dict[str, Any]]:
        """The platform's roles; `admin` also looks after people in the realm's console."""
        have = {role["name"] for role in self.ask("GET", "/roles?max=1000")}
        for name in sorted(set(self.wanted["roles"]) - have):
            self.ask("POST", "/roles", {"name": name})
            log("INFO", f"role {name}: made")
        manager = self.client("realm-management")
        offered = self.ask("GET", f"/clients/{manager['id']}/roles")
        given = {role["name"] for role in self.ask("GET", "/roles/admin/composites")}
        if missing := [r for r in offered if r["name"] in CONSOLE and r["name"] not in given]:
            self.ask("POST", "/roles/admin/composites", missing)
        made = (self.ask("GET", f"/roles/{name}") for name in self.wanted["roles"])
        return [{"id": role["id"], "name": role["name"]} for role in made]

    def scope(self, roles: list[dict[str, Any]]) -> None:
        """The scope that lets the platform's roles into tokens, as one claim, and no other role."""
        found = self.scopes().get(SCOPE)
        if found is None:
            rest = {"protocol": "openid-connect", "attributes": {"include.in.token.scope": "false"}}
            self.ask("POST", "/client-scopes", {"name": SCOPE, **rest})
            found = self.scopes()[SCOPE]
        places = ("access.token", "id.token", "userinfo.token", "introspection.token")
        config = {f"{place}.claim": "true" for place in places} | {
            "claim.name": self.wanted["claim"],
            "multivalued": "true",
            "jsonType.label": "String",
        }
        self.mappers(f"/client-scopes/{found}", {"roles": ("oidc-usermodel-realm-role", config)})
        self.granted(f"/client-scopes/{found}/scope-mappings/realm", roles, roles)

    def scopes(self) -> dict[str, str]:
        """Names of the realm's scopes, each with its id."""
        return {scope["name"]: scope["id"] for scope in self.ask("GET", "/client-scopes")}

    def mappers(self, place: str, want: Mapping[str, tuple[str, dict[str, str]]]) -> None:
        """Exactly these mappers stand there."""
        path = f"{place}/protocol-mappers/models"
        have = {mapper["name"]: mapper for mapper in self.ask("GET", path)}
        for name in have.keys() - want.keys():
            self.ask("DELETE", f"{path}/{have[name]['id']}")
        for name, (kind, config) in want.items():
            made = {"name": name, "protocol": "openid-connect", "protocolMapper": f"{kind}-mapper", "config": config}
            if name not in have:
                self.ask("POST", path, made)
            elif differs(have[name], made):
                self.ask("PUT", f"{path}/{have[name]['id']}", made | {"id": have[name]["id"]})

    def granted(self, path: str, want: Iterable[Any], ours: Iterable[Any]) -> bool:
        """Of our roles these and no others are given there; whether something was changed."""
        have = {role["name"] for role in self.ask("GET", path)}
        names = {role["name"] for role in want}
        add = [role for role in ours if role["name"] in names - have]
        drop = [role for role in ours if role["name"] in have - names]
        for method, some in (("POST", add), ("DELETE", drop)):
            if some:
                self.ask(method, path, some)
        return bool(add or drop)

    def client(self, name: str) -> dict[str, Any]:
        """The client of that name; {} if there is none."""
        found: list[dict[str, Any]] = self.ask("GET", f"/clients?clientId={quote(name)}")
        return found[0] if found else {}

    def clients(self, roles: list[dict[str, Any]]) -> None:
        """One for each page and each service; those of ours that nobody wants any more go."""
        scopes = self.scopes()
        for each in self.wanted["clients"]:
            self.one_client(each, scopes)
            if each["kind"] == "service":
                client = self.client(each["name"])["id"]
                user = self.ask("GET", f"/clients/{client}/service-account-user")["id"]
                want = [role for role in roles if role["name"] in each["roles"]]
                if self.granted(f"/users/{user}/role-mappings/realm", want, roles):
                    log("INFO", f"client {each['name']}: roles written")
        names = {each["name"] for each in self.wanted["clients"]}
        for have in self.ask("GET", "/clients?max=1000"):
            if have.get("attributes", {}).get(MARK) == "true" and have["clientId"] not in names:
                self.ask("DELETE", f"/clients/{have['id']}")
                log("INFO", f"client {have['clientId']}: removed, nobody wants it any more")

    def one_client(self, each: Mapping[str, Any], scopes: Mapping[str, str]) -> None:
        """The client, its scopes and the audiences of its tokens."""
        name, kind = each["name"], each["kind"]
        want = {
            "clientId": name,
            "enabled": True,
            "protocol": "openid-connect",
            "publicClient": kind == "tool",
            "standardFlowEnabled": kind != "service",
            "serviceAccountsEnabled": kind == "service",
            "implicitFlowEnabled": False,
            "directAccessGrantsEnabled": False,
            "fullScopeAllowed": False,
            "redirectUris": each["redirects"],
            "webOrigins": [],
            "attributes": {MARK: "true"} | each["attributes"],
        }
        if kind != "tool":
            want |= {"clientAuthenticatorType": "client-secret", "secret": secret(f"client-{name}")}
        have = self.client(name)
        if not have:
            self.ask("POST", "/clients", want | {"defaultClientScopes": SCOPES[each["kind"]]})
            log("INFO", f"client {name}: made")
            have = self.client(name)
        elif have.get("attributes", {}).get(MARK) != "true":
            raise ValueError(f"client {name} was made by hand; rename it, the platform needs its name")
        elif differs(have, want):
            self.ask("PUT", f"/clients/{have['id']}", want)
            log("INFO", f"client {name}: settings written")
        self.client_scopes(have, SCOPES[each["kind"]], scopes)
        shown = {"access.token.claim": "true", "introspection.token.claim": "true"}
        audiences = {
            f"audience-{audience}": ("oidc-audience", {"included.custom.audience": audience} | shown)
            for audience in each["audiences"]
        }
        self.mappers(f"/clients/{have['id']}", audiences)

    def client_scopes(self, have: Mapping[str, Any], want: list[str], scopes: Mapping[str, str]) -> None:
        """Exactly these go into every token, and none more on demand."""
        for kind, wanted in (("default", set(want)), ("optional", set())):
            given = set(have.get(f"{kind}ClientScopes", ()))
            for method, names in (("DELETE", given - wanted), ("PUT", wanted - given)):
                for name in names:
                    path = f"/clients/{have['id']}/{kind}-client-scopes/{scopes[name]}"
                    self.ask(method, path)

    def users(self, roles: list[dict[str, Any]], *, rewrite: bool) -> None:
        """Those of the settings; who is no longer among them may not log in any more."""
        group = self.group()
        names = {each["name"] for each in self.wanted["users"]}
        ours = self.ask("GET", f"/groups/{group}/members?max=100000")
        for each in self.wanted["users"]:
            have = self.one_user(each, roles, rewrite=rewrite)
            if each["name"] not in {user["username"] for user in ours}:
                self.ask("PUT", f"/users/{have}/groups/{group}")
        for have in ours:
            if have["username"] not in names and have["enabled"]:
                self.change(have["id"], {"enabled": False})
                self.granted(f"/users/{have['id']}/role-mappings/realm", [], roles)
                log("INFO", f"user {have['username']}: disabled, the settings no longer name it")

    def change(self, user: str, want: Mapping[str, Any]) -> bool:
        """Write a user's own settings where they differ, and leave the rest as it is."""
        have = self.ask("GET", f"/users/{user}")
        if not differs(have, want):
            return False
        self.ask("PUT", f"/users/{user}", have | dict(want))
        return True

    def group(self) -> str:
        """Id of the group whose members the settings made."""
        for _ in range(2):
            for group in self.ask("GET", f"/groups?exact=true&search={GROUP}"):
                if group["name"] == GROUP:
                    return str(group["id"])
            self.ask("POST", "/groups", {"name": GROUP})
        raise LookupError(f"group {GROUP} was made and is not there")

    def one_user(self, each: Mapping[str, Any], roles: list[dict[str, Any]], *, rewrite: bool) -> str:
        """A password is written where nobody chose one: for new users, and at each start for those
        who have not logged in yet or are not to choose. Returns the id."""
        name, want = each["name"], {"enabled": True}
        if each["email"]:
            want |= {"email": each["email"], "emailVerified": True}
        find = f"/users?exact=true&username={quote(name)}"
        found = self.ask("GET", find)
        new = not found
        if new:
            self.ask("POST", "/users", {"username": name, **want})
            found = self.ask("GET", find)
            log("INFO", f"user {name}: made")
        user, waits = str(found[0]["id"]), "UPDATE_PASSWORD" in found[0]["requiredActions"]
        if self.change(user, want):
            log("INFO", f"user {name}: settings written")
        if new or (rewrite and (waits or not each["choose"])):
            given = {"type": "password", "temporary": each["choose"]}
            given["value"] = secret(f"user-{name}")
            self.ask("PUT", f"/users/{user}/reset-password", given)
        wanted = [role for role in roles if role["name"] in each["roles"]]
        if self.granted(f"/users/{user}/role-mappings/realm", wanted, roles):
            log("INFO", f"user {name}: roles written")
        return user


def once(wanted: Mapping[str, Any], *, rewrite: bool) -> None:
    """One round."""
    api = Api(wanted["address"])
    try:
        api.enter()
        realm = Realm(api, wanted)
        realm.itself()
        roles = realm.roles()
        realm.scope(roles)
        realm.clients(roles)
        realm.users(roles, rewrite=rewrite)
    finally:
        api.close()


def main() -> int:
    """One round at start, then one every few minutes."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    wanted = json.loads(WANTED.read_text(encoding="utf-8"))
    rewrite = True
    while not stop.is_set():
        pause = ROUND_SECONDS
        try:
            once(wanted, rewrite=rewrite)
            rewrite = False
            READY.touch()
        except Exception as error:  # noqa: BLE001  # whatever it was, the next round tries again
            log("WARN", f"this round failed, trying again: {type(error).__name__}: {error}")
            pause = RETRY_SECONDS
        ALIVE.touch()
        stop.wait(pause)
    return 0


if __name__ == "__main__":
    sys.exit(main())
