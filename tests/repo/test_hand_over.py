"""What smoke asks of the code and documents that were handed over, asked before there is a site."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import pytest

from components.kit.probing import Check, Verdict
from tests.repo import files
from tests.repo.charts import ROOT
from validate.suites.checks import delivery


class Repository(delivery.HandOver):
    """As it stands here, without a bundle around it."""

    @cached_property
    def files(self) -> dict[str, bytes]:
        return {str(file.relative_to(ROOT)): file.read_bytes() for file in files.files()}


@pytest.fixture(scope="module")
def repository() -> delivery.HandOver:
    return Repository(ROOT, ROOT, None)  # type: ignore[arg-type]  # no site, so no contract


@pytest.mark.parametrize("look", [delivery.changes, delivery.commands, delivery.links, delivery.design])
def test_documents_and_code_say_the_same(
    repository: delivery.HandOver, look: Callable[[delivery.HandOver], Check]
) -> None:
    check = look(repository)
    assert check.verdict is Verdict.PASS, check.detail
