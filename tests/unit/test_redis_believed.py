"""Whom the members of Redis take for the primary, by what the Sentinels answer: the scripts themselves, in a shell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

FILES = Path(__file__).parents[2] / "components/redis/chart/files"
CLI = """#!/bin/sh
# Answers as the Sentinel of that host; nothing where it has none.
while [ "$1" != -h ]; do shift; done
file={folder}/$2
[ -s "$file" ] || exit 1
read -r epoch host < "$file"
printf 'name\\nredis\\nip\\n%s\\nconfig-epoch\\n%s\\n' "$host" "$epoch"
"""


def shell(folder: Path, script: str, **answers: str) -> tuple[int, str]:
    """Of member redis-1 of three; `answers` by ordinal: "EPOCH HOST"."""
    (folder / "valkey-cli").write_text(CLI.format(folder=folder))
    (folder / "valkey-cli").chmod(0o755)
    (folder / "auth").mkdir(exist_ok=True)
    (folder / "auth/sentinel-password").write_text("word")
    for ordinal, said in answers.items():
        epoch, _, host = said.partition(" ")
        (folder / f"redis-{ordinal.strip('r')}.members").write_text(f"{epoch} {host}.members\n" if host else "")
    text = (FILES / "lib.sh").read_text().replace("/etc/apadana/auth", f"{folder}/auth")
    (folder / "lib.sh").write_text(text)
    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        **{"POD_NAME": "redis-1", "STATEFULSET": "redis", "MEMBERS_SERVICE": "members", "MEMBERS": "3"},
        "PRIMARY_SET": "redis",
    }
    whole = script.replace("/opt/apadana", str(folder))
    done = subprocess.run(["sh", "-c", whole], env=environment, capture_output=True, text=True, timeout=30, check=False)
    return done.returncode, done.stdout.strip()


BELIEVED = ". /opt/apadana/lib.sh; believed_primary"


@pytest.mark.parametrize(
    ("answers", "named"),
    [
        ({"r0": "2 redis-0", "r1": "2 redis-0", "r2": "2 redis-0"}, "redis-0.members"),
        ({"r0": "1 redis-0", "r1": "2 redis-1", "r2": "1 redis-0"}, "redis-1.members"),  # the newest counts
        ({"r0": "2 redis-1", "r1": "2 redis-0", "r2": "2 redis-0"}, "redis-0.members"),  # one was not told whole
        ({"r0": "2 redis-0", "r1": "2 redis-1", "r2": "2 redis-1"}, "redis-1.members"),
        ({"r0": "2 redis-0", "r2": "2 redis-1"}, ""),  # who is right is not known
        ({"r0": "2 redis-0", "r2": "3 redis-1"}, "redis-1.members"),
        ({"r0": "2 redis-0"}, ""),  # no majority
        ({}, ""),
    ],
)
def test_the_newest_configuration_counts_and_in_it_the_most(
    tmp_path: Path, answers: dict[str, str], named: str
) -> None:
    code, said = shell(tmp_path, BELIEVED, **answers)
    assert (code == 0, said) == (bool(named), named)


@pytest.mark.parametrize(
    ("answers", "agrees"),
    [
        ({"r0": "2 redis-0", "r1": "2 redis-0", "r2": "2 redis-0"}, True),
        ({"r0": "2 redis-0", "r1": "2 redis-1", "r2": "2 redis-0"}, False),
        ({"r0": "3 redis-0", "r1": "2 redis-1", "r2": "3 redis-0"}, False),
        ({"r0": "2 redis-0", "r1": "3 redis-1", "r2": "2 redis-0"}, True),  # it has heard first
        ({"r0": "2 redis-0", "r1": "2 redis-1", "r2": "2 redis-1"}, True),  # of one mind they are not
        ({"r0": "2 redis-0", "r1": "2 redis-1"}, True),  # cut off
        ({"r0": "2 redis-0", "r2": "2 redis-0"}, True),  # it does not answer: another probe's matter
    ],
)
def test_a_sentinel_that_names_another_primary_than_the_others_is_told(
    tmp_path: Path, answers: dict[str, str], agrees: bool
) -> None:
    code, said = shell(tmp_path, (FILES / "agrees.sh").read_text(), **answers)
    assert (code == 0) is agrees
    assert agrees or said.startswith("this Sentinel names redis-1.members (epoch 2), the others redis-0.members")


LEARNT = """\
sentinel myid abc
sentinel current-epoch 2
sentinel monitor redis redis-1.members 6379 2
sentinel config-epoch redis {epoch}
sentinel known-replica redis redis-0.members 6379
sentinel known-sentinel redis redis-0.members 26379 def
"""


@pytest.mark.parametrize(
    ("epoch", "others", "named"),
    [
        (2, {"r0": "2 redis-0", "r2": "2 redis-0"}, "redis-0"),
        (1, {"r0": "2 redis-0", "r2": "2 redis-0"}, "redis-0"),
        (3, {"r0": "2 redis-0", "r2": "2 redis-0"}, "redis-1"),
        (2, {"r0": "2 redis-1", "r2": "2 redis-1"}, "redis-1"),
        (2, {"r0": "2 redis-0"}, "redis-1"),
        (2, {"r0": "2 redis-0", "r2": "2 redis-2"}, "redis-1"),
    ],
)
def test_a_sentinel_starts_as_the_others_are_where_it_knows_no_better(
    tmp_path: Path, epoch: int, others: dict[str, str], named: str
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/sentinel.conf").write_text(LEARNT.format(epoch=epoch))
    for name in ("sentinel.conf", "consumer-sentinel.acl"):
        (tmp_path / name).write_text((FILES / name).read_text())
    for name in ("admin", "health", "replication"):
        (tmp_path / "auth").mkdir(exist_ok=True)
        (tmp_path / f"auth/{name}-password").write_text("word")
    for name, text in (("getent", "exit 0"), ("valkey-sentinel", 'cat "$1"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    script = (FILES / "sentinel.sh").read_text().replace("/data/sentinel", f"{tmp_path}/state")
    settings = "CONSUMERS= DOWN_AFTER_MS=5000 FAILOVER_TIMEOUT_MS=6000\n"
    code, said = shell(tmp_path, settings + script.replace("acl=$RUN", f"acl={tmp_path}"), **others)
    assert code == 0, said
    assert f"\nsentinel monitor redis {named}.members 6379 2\n" in said
    assert f"\nsentinel config-epoch redis {epoch}\n" in said and "\nsentinel myid abc\n" in said
    assert ("known-replica" in said) is (named == "redis-1")
