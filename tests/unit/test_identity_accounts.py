"""The realm's keeper against a realm in memory: what it writes, and what it leaves alone."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILE = Path(__file__).parents[2] / "components/identity/chart/files/accounts.py"
ROLES = [{"id": "1", "name": "viewer"}, {"id": "4", "name": "admin"}]


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("identity_accounts", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def accounts(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load()
    monkeypatch.setattr(module, "secret", lambda name: f"secret of {name}")
    return module


class Told:
    """Answers GET from a table, and keeps what was written."""

    def __init__(self, table: dict[str, Any]) -> None:
        self.table = table
        self.written: list[tuple[str, str, Any]] = []

    def ask(self, method: str, path: str, body: object = None) -> Any:
        if method == "GET":
            return self.table[path]
        self.written.append((method, path, body))
        return None


def realm(accounts: ModuleType, table: dict[str, Any], **wanted: Any) -> tuple[Any, Told]:
    told = Told({f"/platform{path}": answer for path, answer in table.items()})
    everything = {"realm": "platform", "roles": ["viewer", "admin"], "users": [], **wanted}
    return accounts.Realm(told, everything), told


@pytest.mark.parametrize(
    ("have", "want", "differ"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, False),
        ({"a": 1}, {"a": 2}, True),
        ({}, {"a": 1}, True),
        ({"a": ["x", "y"]}, {"a": ["y", "x"]}, False),
        ({"a": ["x"]}, {"a": []}, True),
        (None, {"a": {"b": 1}}, True),
        ({"a": {"b": "true", "c": 1}}, {"a": {"b": "true"}}, False),
    ],
)
def test_only_what_is_wanted_by_name_counts(accounts: ModuleType, have: object, want: object, differ: bool) -> None:
    assert accounts.differs(have, want) is differ


def test_a_client_that_a_person_made_is_not_taken_over(accounts: ModuleType) -> None:
    each = {"name": "mlflow", "kind": "page", "redirects": [], "attributes": {}, "audiences": []}
    table = {"/clients?clientId=mlflow": [{"id": "7", "clientId": "mlflow", "attributes": {}}]}
    keeper, told = realm(accounts, table)
    with pytest.raises(ValueError, match="made by hand"):
        keeper.one_client(each, {})
    assert told.written == []


def test_a_client_of_ours_that_nobody_wants_goes_and_others_stay(accounts: ModuleType) -> None:
    mark = {"attributes": {accounts.MARK: "true"}}
    table = {
        "/client-scopes": [],
        "/clients?max=1000": [
            {"id": "7", "clientId": "gone", **mark},
            {"id": "8", "clientId": "byhand", "attributes": {}},
        ],
    }
    keeper, told = realm(accounts, table, clients=[])
    keeper.clients(ROLES)
    assert told.written == [("DELETE", "/platform/clients/7", None)]


def test_roles_that_are_not_ours_are_left_alone(accounts: ModuleType) -> None:
    table = {"/x": [{"name": "viewer"}, {"name": "of-somebody"}]}
    keeper, told = realm(accounts, table)
    assert keeper.granted("/x", [ROLES[1]], ROLES)
    assert told.written == [("POST", "/platform/x", [ROLES[1]]), ("DELETE", "/platform/x", [ROLES[0]])]


def person(actions: list[str]) -> dict[str, Any]:
    return {"id": "9", "username": "ann", "enabled": True, "requiredActions": actions}


@pytest.mark.parametrize(
    ("choose", "actions", "rewrite", "written"),
    [
        (True, ["UPDATE_PASSWORD"], True, True),  # has not logged in yet
        (True, [], True, False),  # chose one
        (True, ["UPDATE_PASSWORD"], False, False),
        (False, [], True, True),  # is not to choose one
        (False, [], False, False),
    ],
)
def test_a_password_that_somebody_chose_is_never_written_over(
    accounts: ModuleType, choose: bool, actions: list[str], rewrite: bool, written: bool
) -> None:
    table = {
        "/users?exact=true&username=ann": [person(actions)],
        "/users/9": person(actions),
        "/users/9/role-mappings/realm": [ROLES[0]],
    }
    keeper, told = realm(accounts, table)
    each = {"name": "ann", "email": "", "roles": ["viewer"], "choose": choose}
    keeper.one_user(each, ROLES, rewrite=rewrite)
    paths = [path for _, path, _ in told.written]
    assert paths == (["/platform/users/9/reset-password"] if written else [])


def test_a_user_who_left_the_settings_is_disabled_and_keeps_what_is_his(accounts: ModuleType) -> None:
    left = person([]) | {"firstName": "Ann"}
    table = {
        "/groups?exact=true&search=settings": [{"id": "g", "name": "settings"}],
        "/groups/g/members?max=100000": [left],
        "/users/9": left,
        "/users/9/role-mappings/realm": [ROLES[1]],
    }
    keeper, told = realm(accounts, table)
    keeper.users(ROLES, rewrite=True)
    assert told.written == [
        ("PUT", "/platform/users/9", left | {"enabled": False}),
        ("DELETE", "/platform/users/9/role-mappings/realm", [ROLES[1]]),
    ]


def entering(accounts: ModuleType, monkeypatch: pytest.MonkeyPatch, taken: str, former: str) -> list[str]:
    """What is tried and written where Keycloak takes only the password `taken`."""
    kept = {"admin-user": "root", "admin-password": "new", "admin-former": former}
    monkeypatch.setattr(accounts, "secret", kept.__getitem__)
    seen: list[str] = []
    now = [taken]

    def login(self: object, user: str, password: str) -> None:
        seen.append(password)
        if password != now[0]:
            raise accounts.RefusedError("log-in", 400, b'{"error": "invalid_grant"}')

    def ask(self: object, method: str, path: str, body: Any = None) -> Any:
        if method == "PUT":
            now[0] = body["value"]
            seen.append(f"written {body['value']}")
        return [{"id": "1"}]

    monkeypatch.setattr(accounts.Api, "__init__", lambda self: None)
    monkeypatch.setattr(accounts.Api, "_login", login)
    monkeypatch.setattr(accounts.Api, "ask", ask)
    enter: Callable[[], None] = accounts.Api().enter
    enter()
    return seen


def test_the_password_of_a_new_epoch_takes_the_place_of_the_former_one(
    accounts: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = entering(accounts, monkeypatch, "second", "first\nsecond")
    assert tried == ["new", "second", "written new", "new"]


def test_the_right_password_is_the_first_that_is_tried(accounts: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    assert entering(accounts, monkeypatch, "new", "first") == ["new"]


def test_without_any_right_password_it_is_told_which_answer_came(
    accounts: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(accounts.RefusedError, match="invalid_grant"):
        entering(accounts, monkeypatch, "another", "first")
