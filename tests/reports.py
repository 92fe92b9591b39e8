"""Runs and reports for tests: small ones, one with everything in it, one of any size."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from components.kit.probing import Verdict
from validate import report
from validate.core.model import Result, Run, Table

BEGAN = 1_800_000_000.0
STORES = ("kafka", "minio", "postgres", "redis")
FAULTS = ("member-killed", "frozen", "network-cut", "disk-full")
FAULT_COLUMNS = ("fault", "hit", "store", "acknowledged", "lost", "gap s", "verdict")
#: What a hostile store might say: markup, control characters, half a surrogate, turned direction.
EVIL = "<script>alert(1)</script></template>& \x00 \x1b[31m\ud800 \u202egnp.exe ' \" é"


def make(*verdicts: Verdict, name: str = "write", at: float = BEGAN, site: str = "lab") -> Run:
    """One result for each verdict."""
    results = [
        Result("smoke", STORES[n % 4], f"{name} {n}", verdict, f"detail {n}", {"n": n}, 0.5, at + n)
        for n, verdict in enumerate(verdicts)
    ]
    return Run(
        "Smoke",
        site,
        f"smoke --stack {site}",
        "sha256:" + "0" * 64,
        started=at,
        finished=at + 30,
        results=results,
        limits=["The GPUs are pretended."],
    )


def whole(extra: int = 0, at: float = BEGAN) -> Run:
    """A campaign with all that a report can show: one loss, one fault that did not take effect."""
    results = list(_results(at, extra))
    chaos = {(r.component, r.name.partition(":")[0]): r for r in results if r.suite == "chaos"}
    rows = [
        [
            fault,
            store,
            store,
            "6120",
            "7" if chaos[store, fault].cause else "0",
            "4.2",
            str(chaos[store, fault].verdict),
        ]
        for fault in FAULTS
        for store in STORES
    ]
    return Run(
        "Acceptance",
        "lab",
        "all --budget 40m --stack lab",
        "sha256:" + "5e" * 32,
        started=at,
        finished=results[-1].finished,
        results=results,
        tables=[
            Table("Store x fault", FAULT_COLUMNS, rows, "0 lost of n: below 3/n."),
            Table("Latency", ["phase", "p99 ms"], [["measured", "212.0"]]),
        ],
        limits=["The GPUs of this lab are pretended.", "One machine carries all hosts."],
        left_out=["chaos/minio/slow-link: the budget has no room for it"],
        assumptions=["60 million records a month are 23.15/s."],
        plan_digest="9f31c0a7d2b4e6f8",
    )


def _results(at: float, extra: int) -> Iterator[Result]:
    for store in STORES:
        at += 2
        yield Result("smoke", store, "plain text is refused", Verdict.PASS, "refused", {}, 1.0, at)
    for store in STORES:
        for fault in FAULTS:
            at += 60
            verdict, cause = Verdict.PASS, ""
            if (store, fault) == ("redis", "network-cut"):
                verdict, cause = Verdict.FAIL, "lost-writes"
            if (store, fault) == ("minio", "disk-full"):
                verdict = Verdict.INVALID
            curve = {"begin": at, "fault": 30, "undo": 38, "silent_s": 8.0, "counts": [200] * 30 + [0] * 8 + [199] * 9}
            seen = {
                "acknowledged": 6120,
                "p99_ms": 42.0,
                "curve": curve,
                "host": "worker-7.example",
                "address": "10.4.0.12:9092",
            }
            yield Result(
                "chaos",
                store,
                f"{fault}: acknowledged writes",
                verdict,
                "6,120 acknowledged; longest gap 4.2 s on worker-7.example",
                seen,
                55.0,
                at,
                cause,
            )
    curve = {"p99 in ms": [60 + 20 * math.sin(n / 9) for n in range(600)]}
    yield Result("load", "http", "p99 < 300 ms", Verdict.PASS, "559 of 60,000", {"curve": curve}, 600.0, at + 600)
    evidence = {"before": [{"path": f"/etc/file-{n}", "sha256": "ab" * 32} for n in range(12)]}
    for n in range(extra):
        yield Result(
            "chaos",
            STORES[n % 4],
            f"injection {n}: nothing is left",
            Verdict.PASS,
            "before and after agree",
            evidence,
            0.5,
            at + 600 + n,
        )


def root(folder: Path, site: str = "lab") -> Path:
    """<state root>/reports/<site>, so that keys go to <state root>/keys."""
    return folder / "reports" / site


def write(folder: Path, run: Run, **options: object) -> Path:
    """A report under `folder` as a state root."""
    return report.write(root(folder, run.site), run, report.Options(**options))  # type: ignore[arg-type]


def client_key(folder: Path, not_after: datetime | None = None, phrase: bytes = b"") -> Path:
    """A client's private key in PEM, its words beside it, its public half in client.pub."""
    key = Ed25519PrivateKey.generate()
    path = folder / "client.pem"
    lock = serialization.BestAvailableEncryption(phrase) if phrase else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock))
    path.chmod(0o600)
    (folder / "client.pub").write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    words = {"owner": "Client <Ltd>"}
    if not_after:
        words["not_after"] = not_after.isoformat()
    (folder / "client.json").write_text(json.dumps(words))
    return path
