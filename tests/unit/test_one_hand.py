"""One hand at a time on a site, whatever it works with; and no playbook without what is asked first.

The playbooks run here for real, with hosts that nobody has (192.0.2.0/24 is kept for examples), without shared
connections and with a state folder of their own: a refusal that fails reaches no machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from common import locking
from tests import scripts

REPOSITORY = Path(__file__).parents[2]
INVENTORY = """\
all:
  vars:
    site_name: nowhere
    site_state: {state}/nowhere
    ansible_ssh_common_args: -o ControlPath=none -o ConnectTimeout=1
    ansible_ssh_private_key_file: /dev/null
  children:
    control_plane: {{hosts: {{a: {{ansible_host: 192.0.2.1}}}}}}
    workers: {{hosts: {{b: {{ansible_host: 192.0.2.2}}}}}}
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    file = tmp_path / "hosts.yml"
    file.write_text(INVENTORY.format(state=tmp_path))
    return file


def playbook(inventory: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).parent / "ansible-playbook")
    environment = {**os.environ, "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"), "LC_ALL": "C.UTF-8"}
    environment.pop(locking.TOKEN, None)
    command = [program, "-i", str(inventory), f"playbooks/{name}.yml", *arguments]
    return subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("name", ["check", "site", "reset", "renew"])
def test_a_limit_that_leaves_out_what_is_asked_first_is_refused(inventory: Path, name: str) -> None:
    """`reset.yml --limit a` would not even ask for the site's name."""
    done = playbook(inventory, name, "--limit", "a")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "--limit a leaves out localhost" in done.stderr
    assert "--limit 'a,localhost'" in done.stderr
    assert "TASK" not in done.stdout


def test_a_limit_with_it_is_let_through(inventory: Path) -> None:
    done = playbook(inventory, "reset", "--limit", "a,localhost")
    assert "confirm is not given" in done.stdout + done.stderr
    assert "leaves out localhost" not in done.stderr


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "120"])
    yield process
    process.kill()
    process.wait()


def test_a_playbook_is_refused_while_another_hand_has_the_site(
    inventory: Path, tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    locking.hold_for(sleeper.pid, tmp_path, "nowhere", "pulumi up --stack nowhere-data")
    done = playbook(inventory, "reset")
    assert done.returncode == 3, done.stdout + done.stderr
    assert f"(process {sleeper.pid})" in done.stderr and "pulumi up --stack nowhere-data" in done.stderr
    assert "TASK" not in done.stdout
    looked = playbook(inventory, "check")
    assert "is held by" not in looked.stderr, "a look changes nothing"


def test_the_site_is_free_again_when_the_playbook_has_ended(inventory: Path, tmp_path: Path) -> None:
    playbook(inventory, "reset")
    free(tmp_path)


def free(root: Path) -> None:
    end = time.monotonic() + 20
    while locking.holder_file(root, "nowhere").exists():
        assert time.monotonic() < end, "the keeper still holds the site"
        time.sleep(0.05)


def test_a_site_is_held_as_long_as_the_process_lives(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    locking.hold_for(sleeper.pid, tmp_path, "nowhere", "pulumi up")
    holder = locking.read_holder(locking.holder_file(tmp_path, "nowhere"))
    assert holder is not None and (holder.pid, holder.what) == (sleeper.pid, "pulumi up")
    with pytest.raises(locking.Taken, match="make unlock SITE=nowhere"):
        locking.hold_for(os.getpid(), tmp_path, "nowhere", "another")
    sleeper.kill()
    sleeper.wait()
    free(tmp_path)


def test_only_the_holders_own_children_are_the_same_hand(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    """A token that a shell kept from an earlier run opens nothing."""
    locking.hold_for(sleeper.pid, tmp_path, "nowhere", "make up")
    holder = locking.read_holder(locking.holder_file(tmp_path, "nowhere"))
    assert holder is not None
    assert locking.is_ours(tmp_path, "nowhere", {locking.TOKEN: holder.token})
    assert not locking.is_ours(tmp_path, "nowhere", {locking.TOKEN: "left over"})
    assert not locking.is_ours(tmp_path, "nowhere", {})


def test_what_is_left_out_is_told() -> None:
    one_hand = scripts.load(scripts.PLAYBOOKS / "callback_plugins" / "one_hand.py")
    assert one_hand.left_out(None, ["localhost"], []) == ""
    assert one_hand.left_out("a", ["all"], []) == ""
    assert one_hand.left_out("a,localhost", ["localhost", "all"], ["localhost"]) == ""
    assert "--limit a " in one_hand.left_out("a", ["localhost", "all"], [])
