"""What Prometheus tells of given figures, by its own tester of rules."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests import debian_programs

Series = dict[str, str]
LABEL = re.compile(r"\{\{ \$labels\.(\w+) \}\}")  # of a summary; one that an alert lacks is empty


def labelled(name: str, /, **labels: object) -> str:
    inner = ",".join(f"{key}={json.dumps(str(value))}" for key, value in labels.items())
    return f"{name}{{{inner}}}"


def expect(
    rules: Path,
    tmp_path: Path,
    series: Sequence[Series],
    alert: str,
    when: Mapping[int, Sequence[Series]],
    *,
    value: str = "",
) -> None:
    """Fails unless `alert` of the file `rules` fires as told.

    `when`: minute -> the labels of those that fire then, but for what the rule itself gives. A series has a name with
    labels, and values, one a minute. `value`: what the summary tells of the figure.
    """
    (rule,) = [
        each
        for group in yaml.safe_load(rules.read_text())["groups"]
        for each in group["rules"]
        if each.get("alert") == alert
    ]

    def told(labels: Mapping[str, str]) -> dict[str, Any]:
        summary = LABEL.sub(lambda found: labels.get(found[1], ""), rule["annotations"]["summary"])
        summary = summary.replace("{{ $value }}", value)
        return {"exp_labels": {**rule["labels"], **labels}, "exp_annotations": {"summary": summary}}

    tests = {
        "interval": "1m",
        "input_series": list(series),
        "alert_rule_test": [
            {"eval_time": f"{at}m", "alertname": alert, "exp_alerts": [told(labels) for labels in found]}
            for at, found in when.items()
        ],
    }
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [tests]}))
    try:
        programs = debian_programs.root("image/prometheus")
    except debian_programs.NotHereError as error:
        pytest.skip(str(error))
    command = [*debian_programs.command(programs, "bin/promtool"), "test", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
