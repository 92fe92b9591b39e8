"""What the stacks of Stage and Production render, beside the plan of the contract's tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from components.kit.discovery import rooms
from components.kit.settings import SiteFacts
from stacks import capacity
from stacks.asked import workloads
from stacks.composition import compose
from stacks.rendering import rendered
from stacks.sizing import Plan, Sizing
from tests.images import AnyImage
from tests.repo import charts

pytestmark = pytest.mark.rendered


@dataclass
class Sample:
    """A site, what it would make, and its capacity."""

    site: SiteFacts
    objects: dict[str, list[dict[str, Any]]]
    found: capacity.Capacity


@pytest.fixture(scope="module", params=["stage", "production"])
def sample(request: pytest.FixtureRequest) -> Sample:
    site = compose(request.param).facts(AnyImage())
    objects = rendered(site, charts.helm())
    return Sample(site, objects, capacity.measured(site, Plan.of(request.param, Sizing.read()), objects))


def test_nothing_is_over_its_plan(sample: Sample) -> None:
    """No part, no disk, and each pod finds a server, members apart."""
    assert sample.found.over() == []
    assert all(sample.found.used(key) <= sample.found.plan.scale.use_percent + 5 for key in ("cpu", "ram_gb"))
    scale = sample.found.plan.scale
    assert (len(sample.found.servers), sample.found.has().gpu) == (scale.servers, scale.gpu)


def test_every_room_is_counted(sample: Sample) -> None:
    """No room hides what it asks for: each is a part's, and each pod asks for cores and memory."""
    named = [room for line in sample.found.lines for room in line.rooms]
    assert sorted(named) == sorted(room.name for room in rooms() if room.name in sample.site.rooms)
    asked = list(workloads(sample.objects))
    assert len({workload.name for workload in asked}) == len(asked)
    assert all(workload.each.cpu and workload.each.ram_gb for workload in asked)
