"""Drifts of hosts, one of each kind; the thirty are tests/campaign/test_drifts.py."""

from __future__ import annotations

import os

import pytest

from tests import drifts, lab, snapshot
from tests.drift_round import check_is_clean, played, wait_for_pods
from validate.ground.site import REPOSITORY

pytestmark = pytest.mark.live
SEED = int(os.environ.get("APADANA_SEED", "1"))


@pytest.mark.campaign
def test_one_drift_of_each_kind_is_reported_and_mended() -> None:
    check_is_clean()
    items = drifts.table(REPOSITORY / "inventories" / lab.SITE / "hosts.yml")
    made = drifts.seeded(items, SEED, dict.fromkeys(drifts.KINDS, 1))
    for each in drifts.rounds(made):
        assert played(each) == []
    wait_for_pods()


def test_make_up_on_a_whole_lab_changes_nothing() -> None:
    before = snapshot.everything()
    done = lab.make_up(timeout=1800)
    assert done.returncode == 0, lab.told(done)
    assert "Nothing had to be changed" in done.stdout, lab.told(done)
    found = snapshot.differences(before, snapshot.everything())
    assert not found, "\n  ".join(["make up wrote:", *found])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("ansible_ssh_private_key_file={other_key}",), ("refuses the key", "authorized_keys")),
        pytest.param(("site_service_cidr=10.244.128.0/17",), ("overlap", "site_pod_cidr"), marks=pytest.mark.campaign),
    ],
    ids=["wrong key", "overlapping networks"],
)
def test_a_mistake_is_refused_before_a_host_is_touched(
    settings: tuple[str, ...], words: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory
) -> None:
    key = tmp_path_factory.mktemp("key") / "id"
    lab.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key), timeout=120)
    before = snapshot.hosts()
    given = [part for text in settings for part in ("-e", text.format(other_key=key))]
    done = lab.playbook("site", *given)
    assert done.returncode != 0
    for word in ("Nothing was changed", *words):
        assert word in done.stdout, lab.told(done)
    assert snapshot.differences(before, snapshot.hosts()) == []
