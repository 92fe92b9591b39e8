"""Ten thousand joins of features with their moments, against the oracle in SQL."""

from __future__ import annotations

import pytest

from tests import point_in_time
from tests.engine import featuring
from tests.engine.test_feature_store import FILES, check_joins

pytestmark = pytest.mark.campaign


def test_ten_thousand_joins_are_those_of_the_oracle() -> None:
    with featuring.feast(FILES) as feast:
        check_joins(feast, point_in_time.case(10_000, seed=2))
