"""`python -m tests.repo.charts lint`: the pinned helm on every chart, and the rules helm lacks."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "bundle" / "go" / "helm"
# Pulumi and helm render a chart alike only without what one lacks or what changes by itself.
FORBIDDEN = {
    r"helm\.sh/hook": "hooks do not run in helm.v4.Chart",
    r"\blookup\b": "lookup sees nothing at preview and lint",
    r"\brand(Alpha|AlphaNum|Numeric|Ascii|Bytes|Int)\b|\buuidv4\b": "it is never the same",
    r"\bgen(CA|SelfSignedCert|SignedCert|PrivateKey)\b": "certificates come from the site's own CA",
    r"\{\{[^}]*\bnow\b": "time changes the objects at each run",
}


def charts() -> list[Path]:
    return sorted(file.parent for file in (ROOT / "components").glob("*/chart/Chart.yaml"))


def faults(chart: Path) -> Iterable[str]:
    """What no chart of ours may hold, each with its place."""
    for file in sorted((chart / "templates").rglob("*")):
        if not file.is_file():
            continue
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            code = re.sub(r"\{\{-? ?/\*.*?\*/ ?-?\}\}|(^|\s)#.*", "", line)
            for pattern, why in FORBIDDEN.items():
                if re.search(pattern, code):
                    yield f"{file.relative_to(ROOT)}:{number}: {why}: {line.strip()}"


def helm() -> Path:
    """The helm of the bundle; without one it is built from the same pins into the cache."""
    cache = Path(os.environ.get("APADANA_CACHE") or "/var/cache/apadana")
    bundled = cache / "bundle" / "bin" / "helm"
    if bundled.is_file():
        return bundled
    pins = b"".join((MODULE / name).read_bytes() for name in ("go.mod", "go.sum"))
    built = cache / "bin" / f"lint-helm-{hashlib.sha256(pins).hexdigest()[:16]}"
    if not built.is_file():
        build(built, cache)
    return built


def build(target: Path, cache: Path) -> None:
    print(f"building helm into {target} (once)", file=sys.stderr, flush=True)
    subprocess.run([ROOT / "road" / "prerequisites.sh", "go"], check=True, stdout=sys.stderr)
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly",
        "GOCACHE": str(cache / "go" / "build"),
        "GOMODCACHE": str(cache / "go" / "mod"),
    }
    capabilities = "helm.sh/helm/v3/pkg/chartutil.k8sVersion"
    # Without these helm believes in Kubernetes 1.20 and refuses charts that ask for more.
    flags = f"-s -w -X {capabilities}Major=1 -X {capabilities}Minor=36"
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_suffix(".new")
    subprocess.run(
        ["go", "build", "-trimpath", "-ldflags", flags, "-o", fresh, "helm.sh/helm/v3/cmd/helm"],
        cwd=MODULE,
        env=environment,
        check=True,
    )
    fresh.replace(target)


def lint() -> int:
    found = [fault for chart in charts() for fault in faults(chart)]
    for fault in found:
        print(fault)
    rooms = [chart for chart in charts() if chart.parent.name != "kit"]
    failed = [chart for chart in rooms if not lint_one(helm(), chart)]
    print(f"{len(rooms)} charts linted: {len(failed)} refused by helm, {len(found)} by our own rules")
    return 1 if failed or found else 0


def lint_one(program: Path, chart: Path) -> bool:
    """Values that a chart needs and has no default for stand in its room's ci/values.yaml."""
    values = chart / "ci" / "values.yaml"
    more = ["--values", str(values)] if values.is_file() else []
    done = subprocess.run([program, "lint", "--strict", "--quiet", str(chart), *more], capture_output=True, text=True)
    if done.returncode:
        print(f"helm lint {chart.relative_to(ROOT)}:\n{done.stdout}{done.stderr}")
    return done.returncode == 0


if __name__ == "__main__":
    if sys.argv[1:] == ["helm"]:
        print(helm())
    elif sys.argv[1:] == ["lint"]:
        sys.exit(lint())
    else:
        sys.exit(f"{sys.argv[1:]} is not known; allowed: helm, lint")
