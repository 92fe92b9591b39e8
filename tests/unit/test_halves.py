"""What every room's cluster-scoped half must show, by discovery, with the settings of the lab."""

from __future__ import annotations

import pytest

from components.kit.half import PaperKeys
from components.kit.manifests import OPEN_BECAUSE, Manifest
from components.kit.settings import SiteFacts
from stacks.composition import compose
from stacks.halves import half_class, wanted
from tests.images import AnyImage


def _site() -> SiteFacts:
    loaded = compose("lab")
    return loaded.facts(AnyImage())


SITE = _site()
HALVES = {room.name: half_class(room) for room in wanted(SITE.rooms)}


def of(room: str, kind: str) -> list[Manifest]:
    return [d for d in HALVES[room].objects(SITE.rooms[room], SITE, PaperKeys()) if d["kind"] == kind]


def test_there_are_halves() -> None:
    assert {"gateway", "kserve"} <= HALVES.keys()


@pytest.mark.parametrize("room", HALVES)
def test_a_door_that_is_open_to_everyone_says_why(room: str) -> None:
    for policy in of(room, "NetworkPolicy"):
        open_ = [rule for rule in policy["spec"].get("ingress", ()) if not rule.get("from")]
        said = policy["metadata"].get("annotations", {}).get(OPEN_BECAUSE)
        assert not open_ or said, f"{policy['metadata']['name']} opens {open_} and does not say why"
