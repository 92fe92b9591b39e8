"""MinIO's settings and what is computed from them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from components.kit.contract import Component
from components.kit.settings import SiteFacts
from components.minio import settings as minio

DIGEST = "sha256:" + "1" * 64
SITE = SiteFacts("test", images={n: f"apadana.local/{n}@{DIGEST}" for n in ("minio", "clients")})


def test_fewer_than_four_members_are_refused() -> None:
    with pytest.raises(ValidationError):
        minio.Settings(members=3)


@pytest.mark.parametrize(
    ("settings", "gib"),
    [
        ({"drives_per_member": 1, "storage": {"size_gib": 2}}, 4),  # 4 drives, EC:2
        ({"drives_per_member": 2, "storage": {"size_gib": 2}}, 8),  # 8 drives, EC:4
        ({"drives_per_member": 4, "storage": {"size_gib": 2}}, 24),  # 16 drives, EC:4
        ({"drives_per_member": 1, "parity": 1, "storage": {"size_gib": 2}}, 6),
    ],
)
def test_what_is_left_of_the_drives_without_parity(settings: dict[str, object], gib: float) -> None:
    assert minio.Settings.model_validate(settings).usable_gib() == gib


def test_parity_is_at_most_half() -> None:
    with pytest.raises(ValidationError, match="half of a set"):
        minio.Settings(drives_per_member=1, parity=3)


def test_the_gpu_pool_is_tolerated_only_when_asked() -> None:
    assert minio.values(minio.Settings(), SITE)["tolerations"] == []
    asked = minio.values(minio.Settings(tolerate_gpu_pool=True), SITE)
    assert asked["tolerations"] == [minio.GPU_TOLERATION]


def test_the_contract_fits_and_every_address_is_in_the_certificate() -> None:
    settings = minio.Settings(members=5)
    checked = Component.model_validate(minio.contract(settings, SITE))
    assert len(checked.members) == 5
    names = minio.dns_names(settings, SITE)
    for endpoint in checked.endpoints_in:
        for address in endpoint.address.split(","):
            assert address.rpartition(":")[0] in names
