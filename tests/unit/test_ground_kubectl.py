"""What is asked of the API again when it gave no answer, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from validate.core.errors import ClusterError, SilentError
from validate.ground.kubectl import Cluster

SILENT, REFUSED = SilentError("delete", "TLS handshake timeout"), ClusterError("delete", "forbidden")


@pytest.mark.parametrize(
    ("answers", "asked", "fails"),
    [([""], 1, False), ([SILENT, SILENT, ""], 3, False), ([REFUSED], 1, True), ([SILENT, REFUSED], 2, True)],
)
def test_what_a_run_leaves_is_deleted_though_the_api_was_silent(
    answers: list[str | ClusterError], asked: int, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []

    def run(self: Cluster, *args: str, timeout: float = 20.0, stdin: bytes | None = None) -> str:
        calls.append(args)
        answer = answers[len(calls) - 1]
        if isinstance(answer, ClusterError):
            raise answer
        return answer

    monkeypatch.setattr(Cluster, "run", run)
    cluster = Cluster(Path("kubeconfig"), Path("kubectl"))
    if fails:
        with pytest.raises(ClusterError, match="forbidden"):
            cluster.delete("platform", "pods", "a=b")
    else:
        cluster.delete("platform", "pods", "a=b")
    assert len(calls) == asked
    assert set(calls) == {calls[0]}
    assert {"--ignore-not-found", "--wait=false", "a=b"} <= set(calls[0])
