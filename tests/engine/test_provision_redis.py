"""The job that makes users at a client's Redis, on a primary, a replica and a Sentinel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from components.kit.telling import WHOLE, WRONG
from tests import ports
from tests.engine import provisioned, stores
from tests.engine.provisioned import Pod, login, word
from tests.engine.test_redis_metrics import port_of
from validate.ground.kubectl import wait_for

pytestmark = pytest.mark.engine
ASKED = [{"owner": "asker", "name": "asked"}, {"owner": "reader", "name": "asked", "rights": "read"}]
PASSWORDS = {name: word(name) for name in ("asker", "reader", "weak", "maker", "client-probe")}
#: What docs/how-to/use-a-clients-stores.md asks for, and nothing else.
MAKER = [">the-password-of-maker", "+@connection", "+acl"]
PROBE = [f">{PASSWORDS['client-probe']}", "~probe:*", "+@all"]


class Servers:
    """Those of the client; `probe` is their administrator."""

    def __init__(self, made: stores.Platform) -> None:
        self.made = made
        self.sentinel = int(made.component("redis").endpoints_in[0].address.rpartition(":")[2])
        self.ports = [int(port_of(made, name)) for name in ("redis-0", "redis-1")]
        self.ca = str(made.state / "pki" / "ca.crt")
        # A Sentinel that has just begun has not heard of the replica yet.
        known = self.line(self.sentinel)
        wait_for("the replica", lambda: known.sentinel_slaves("redis") or None, timeout=60, every=0.2)

    def line(self, port: int, user: str = "probe", password: str = "") -> Any:
        given = password or PASSWORDS.get(user, self.made.password)
        return redis.Redis(
            host=ports.HOST, port=port, username=user, password=given, ssl=True, ssl_ca_certs=self.ca,
            decode_responses=True,
        )  # fmt: skip

    def everywhere(self, *words: str) -> None:
        for port in (*self.ports, self.sentinel):
            self.line(port).execute_command("ACL", *words)

    def empty(self) -> None:
        """As if nothing had ever been made."""
        self.everywhere("DELUSER", "asker", "reader", "weak", "client-probe")
        self.everywhere("SETUSER", "client-probe", "on", *PROBE)
        self.everywhere("SETUSER", "maker", "on", *MAKER)
        asks = ("+sentinel|get-master-addr-by-name", "+sentinel|slaves")
        self.line(self.sentinel).execute_command("ACL", "SETUSER", "maker", *asks)

    def users(self, port: int) -> set[str]:
        return set(self.line(port).execute_command("ACL", "USERS")) & {"asker", "reader"}


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with stores.platform() as made:
        stores.add_redis(made, users_in_files=True)
        yield Servers(made)


@pytest.fixture(autouse=True)
def clean(servers: Servers) -> None:
    servers.empty()


def secrets(servers: Servers, account: str = "maker", **passwords: str) -> provisioned.Secrets:
    own = login(account, PASSWORDS.get(account, servers.made.password))
    return provisioned.secrets("redis", own, login("client-probe", word("client-probe")), **passwords)


def pod(folder: Path, servers: Servers, held: provisioned.Secrets, **more: Any) -> Pod:
    wanted = provisioned.settings("redis", servers.sentinel, **{"keyspaces": ASKED, **more})
    return Pod(folder, wanted, held, Path(servers.ca).read_text())


def test_users_are_made_once_on_every_server(servers: Servers, tmp_path: Path) -> None:
    held = secrets(servers)
    job = pod(tmp_path, servers, held)
    code, said = job.run()
    assert code == WHOLE, said
    provisioned.nothing_leaks(said, held)
    primary = servers.line(servers.ports[0], "asker")
    primary.set("asked:a", "1")
    assert servers.line(servers.ports[0], "reader").get("asked:a") == "1"
    for user, key in (("reader", "asked:a"), ("asker", "other:a")):
        with pytest.raises(redis.exceptions.NoPermissionError):
            servers.line(servers.ports[0], user).set(key, "2")
    with pytest.raises(redis.exceptions.NoPermissionError):
        primary.flushall()
    for port in (*servers.ports, servers.sentinel):
        assert servers.users(port) == {"asker", "reader"}, (port, said)
    assert servers.line(servers.sentinel, "asker").sentinel_get_master_addr_by_name("redis")[1] == servers.ports[0]
    for name in ("redis-0", "redis-1", "redis-sentinel"):  # a restart keeps them
        assert "user asker on" in (servers.made.state / f"{name}.acl").read_text()
    code, again = job.run()
    assert code == WHOLE and "made" not in again and " got " not in again, again


def test_a_job_that_is_killed_in_the_middle_is_gone_on_with(servers: Servers, tmp_path: Path) -> None:
    job = pod(tmp_path, servers, secrets(servers))
    job.kill("the first user", lambda: servers.users(servers.ports[0]) or None, every=0.0005)
    # Whatever it had got to: one of them lacks at one of them.
    servers.line(servers.sentinel).execute_command("ACL", "DELUSER", "reader")
    code, said = job.run()
    assert code == WHOLE and "made user reader at Sentinel" in said, said
    for port in (*servers.ports, servers.sentinel):
        assert servers.users(port) == {"asker", "reader"}, (port, said)


def test_a_new_epoch_gives_users_of_ours_their_password(servers: Servers, tmp_path: Path) -> None:
    assert pod(tmp_path / "1", servers, secrets(servers)).run()[0] == WHOLE
    held = secrets(servers, asker="another-one-of-asker")
    held |= provisioned.before("redis")
    code, said = pod(tmp_path / "2", servers, held, epoch=2).run()
    assert code == WHOLE, said
    assert "user asker at" in said and "got its new password" in said and "user reader" not in said
    servers.line(servers.ports[0], "asker", "another-one-of-asker").set("asked:a", "1")
    with pytest.raises(redis.exceptions.AuthenticationError):
        servers.line(servers.ports[0], "asker").ping()


def test_an_account_that_may_not_is_told_with_the_commands(servers: Servers, tmp_path: Path) -> None:
    servers.everywhere("SETUSER", "weak", "on", f">{PASSWORDS['weak']}", "~*", "+@all", "-@dangerous", "+info")
    servers.line(servers.sentinel).execute_command(
        "ACL", "SETUSER", "weak", "+sentinel|get-master-addr-by-name", "+sentinel|slaves"
    )
    held = secrets(servers, "weak")
    code, said = pod(tmp_path, servers, held).run()
    assert code == WRONG, said
    provisioned.nothing_leaks(said, held)
    rules = "resetkeys ~asked:* resetchannels -@all +@read +@write"
    assert f"ACL SETUSER asker on ><password of the Secret redis-client-asker> {rules}" in said
    assert not servers.users(servers.ports[0])


def test_what_is_otherwise_is_told_and_left(servers: Servers, tmp_path: Path) -> None:
    servers.line(servers.ports[0]).execute_command("ACL", "SETUSER", "asker", "on", ">of-somebody", "~*", "+@all")
    code, said = pod(tmp_path, servers, secrets(servers)).run()
    assert code == WRONG, said
    assert f"user asker at {ports.HOST}:{servers.ports[0]}\n    wanted: the password of the Secret" in said
    assert servers.line(servers.ports[0], "asker", "of-somebody").ping()
    assert servers.users(servers.ports[1]) == {"asker", "reader"}, "what is right was not made"


def test_keys_are_added_and_what_is_too_much_is_told(servers: Servers, tmp_path: Path) -> None:
    assert pod(tmp_path / "1", servers, secrets(servers)).run()[0] == WHOLE
    more = [*ASKED, {"owner": "asker", "name": "second"}]
    code, said = pod(tmp_path / "2", servers, secrets(servers), keyspaces=more).run()
    assert code == WHOLE and "got ~second:*" in said, said
    servers.line(servers.ports[0], "asker").set("second:a", "1")
    servers.line(servers.ports[0]).execute_command("ACL", "SETUSER", "reader", "+flushall")
    code, said = pod(tmp_path / "3", servers, secrets(servers)).run()
    assert code == WRONG, said
    assert "keys\n    wanted: ~asked:*\n    is:     also ~second:*" in said
    assert f"user reader at {ports.HOST}:{servers.ports[0]}, commands" in said
    servers.line(servers.ports[0], "asker").set("second:a", "2")


def test_users_that_no_restart_would_keep_are_told(tmp_path: Path) -> None:
    with stores.platform() as made:
        stores.add_redis(made)
        there = Servers(made)
        there.empty()
        code, said = pod(tmp_path, there, secrets(there)).run()
    assert code == WRONG and "wanted: kept over a restart" in said and "set `aclfile`" in said
