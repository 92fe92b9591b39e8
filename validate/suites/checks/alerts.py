"""Is somebody told when a component breaks? What its alerts.yaml must hold at least.

The file is Prometheus' own form (`groups: [{name, rules: [{alert, expr, for, labels}]}]`). Each
alert says with the label `cause` which trouble it tells of, in the words of core/causes.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from components.kit import contract
from components.kit.probing import Check, Verdict
from validate.core import causes
from validate.suites import coverage

FILE = "alerts.yaml"


def wanted(component: contract.Component) -> dict[str, str]:
    """cause -> why somebody must be told; what can't happen to it is not asked for."""
    found = {causes.NOT_WHOLE_AGAIN: "a member is missing and the next loss will not be survived"}
    if component.ca_ref:
        found[causes.CERTIFICATE] = "a certificate is about to end, and then nobody gets in"
    if component.backup:
        found[causes.BACKUP_USELESS] = "the last backup is too old"
    if component.mode == "managed" and component.secret_ref and not coverage.stateless(component):
        found[causes.DISK_FULL] = "the disk is nearly full"
    return found


def checks(component: contract.Component, rooms: Path) -> Iterator[Check]:
    """Nothing for a room without the file: coverage says that."""
    path = rooms / component.name / FILE
    if not path.is_file():
        return
    name = "alerts"
    try:
        rules = list(_rules(yaml.safe_load(path.read_text(encoding="utf-8"))))
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        detail = f"{path.name} is not in Prometheus' form: {type(error).__name__}: {error}"
        yield Check(name, Verdict.INVALID, detail)
        return
    told = {str(r.get("labels", {}).get("cause")) for r in rules if str(r.get("expr", "")).strip()}
    missing = {cause: why for cause, why in wanted(component).items() if cause not in told}
    if missing:
        detail = "; ".join(f"no alert with cause {c}: {why}" for c, why in missing.items())
        evidence = {"cause": causes.NO_ALERT, "missing": sorted(missing)}
        yield Check(name, Verdict.FAIL, detail, evidence)
        return
    yield Check(name, Verdict.PASS, f"{len(rules)} alerts, for {', '.join(sorted(told))}")


def _rules(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for group in content["groups"]:
        yield from (rule for rule in group["rules"] if rule.get("alert"))
