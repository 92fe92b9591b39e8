"""Whether a model in service is to be trained anew: an alert is told of it, and nobody has tried since.

It is asked from time to time, so an alert that fires is never lost: it is there at the next look. `python3 -m
problems.due PROBLEM --model NAME --rest-hours H --out FILE` writes `yes` or `no`. The standard library alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from problems import tracking
from problems.asking import AskedError, Server

URIS, CA, LOGIN = "ALERTS_URIS", "ALERTS_CA", "ALERTS_LOGIN"
#: Questions or answers are no longer as in the training; answers are wrong too often.
ALERTS = ("ModelsDrift", "ModelMisjudges")
YES, NO = "yes", "no"


def firing(servers: Sequence[Server], model: str) -> list[str]:
    """What is told of the model now, by the first server that answers. Raises OSError or AskedError: none does."""
    wanted = f'ALERTS{{alertstate="firing",alertname=~"{"|".join(ALERTS)}",model="{model}"}}'
    problem: Exception = ValueError("no server is named")
    for server in servers:
        try:
            found = json.loads(server.ask("GET", f"/api/v1/query?query={quote(wanted)}", tries=2))
        except (OSError, AskedError) as error:
            problem = error
        else:
            return sorted({_told(each["metric"]) for each in found["data"]["result"]})
    raise problem


def _told(labels: dict[str, str]) -> str:
    more = [labels[key] for key in ("version", "measure") if key in labels]
    return " ".join((labels["alertname"], *more))


def tried(mlflow: tracking.Mlflow, problem: str) -> float | None:
    """When the newest run of the problem was told of, whether its model passed or not; None: never."""
    try:
        number = mlflow.experiment(problem)
    except AskedError as error:
        if error.code == tracking.MISSING:
            return None
        raise
    runs = mlflow.post(
        "runs/search", experiment_ids=[number], order_by=["attributes.start_time DESC"], max_results=1
    ).get("runs", [])
    return float(runs[0]["info"]["start_time"]) / 1000 if runs else None


def decided(alerts: Sequence[str], last: float | None, now: float, rest_s: float) -> tuple[bool, str]:
    """Whether to train, and why."""
    if not alerts:
        return False, "nothing is told of it"
    told = ", ".join(alerts)
    if last is not None and now - last < rest_s:
        ago = f"{(now - last) / 3600:.1f} h ago; there is to be {rest_s / 3600:g} h between two runs"
        return False, f"{told}; but the last run was {ago}"
    return True, told


def servers() -> list[Server]:
    """As the environment names them; name and password are files."""
    name, password = ((Path(os.environ[LOGIN]) / part).read_text().strip() for part in ("username", "password"))
    return [Server(uri, os.environ.get(CA, ""), (name, password)) for uri in os.environ[URIS].split(",")]


def main() -> int:
    """Answers in a file; 0 whatever it is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("problem")
    parser.add_argument("--model", required=True, help="its name in service")
    parser.add_argument("--rest-hours", type=float, required=True, help="between two runs")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    mlflow = tracking.from_environment()
    if mlflow is None:
        sys.stderr.write(f"{tracking.URI} is not set\n")
        return 2
    last = tried(mlflow, asked.problem)
    yes, why = decided(firing(servers(), asked.model), last, time.time(), asked.rest_hours * 3600)
    sys.stdout.write(f"{asked.model} is {'trained anew' if yes else 'left as it is'}: {why}\n")
    asked.out.write_text(YES if yes else NO)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
