"""Raw measurements cleaned in a real Spark, by the room's own start: what comes out is what plain Python makes of the
same lines, a repeat changes nothing, and a driver that is lost at its work leaves the right result, once."""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.engine import sparking
from validate.ground.kubectl import wait_for
from validate.ground.site import REPOSITORY

pytestmark = pytest.mark.campaign  # two JVMs, a minute and more

CLEANING = REPOSITORY / "problems" / "cleaning" / "job.py"
TABLE = "clinic.glucose"
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
#: Cleans, reads, cleans again, tells what it saw.
LOOK = """
import json, sys
import job
from pyspark.sql import SparkSession
raw, table, out = sys.argv[1:]
spark = SparkSession.builder.getOrCreate()
runs = [job.run(spark, raw, table)]
rows = [row.asDict() | {"taken_at": row["taken_at"].isoformat()} for row in spark.table(table).orderBy("id").collect()]
runs.append(job.run(spark, raw, table))
states = spark.sql(f"SELECT count(*) AS n FROM {table}.snapshots").first()["n"]
summary = job.committed(spark, table)
open(out, "w").write(json.dumps({"runs": runs, "rows": rows, "states": states, "summary": summary}))
"""


def raw() -> list[str]:
    """Three hundred sound lines of ten patients, and some of every kind that is left out."""
    chance = random.Random(7)
    found = [line(number, chance) for number in range(300)]
    spoilt = [
        ("no-json", ["{broken", "", "[1, 2]"]),
        ("no-id", [said(id=None), said(id="  ")]),
        ("no-patient", [said(id="x-1", patient=None)]),
        ("no-time", [said(id="x-2", taken_at="yesterday"), said(id="x-3", taken_at=None)]),
        ("no-value", [said(id="x-4", glucose=None), said(id="x-5", glucose="high")]),
        ("unknown-unit", [said(id="x-6", unit="stone")]),
        ("impossible", [said(id="x-7", glucose=400.0), said(id="x-8", glucose=-3.0)]),
        ("repeated", [found[3], found[4], found[3]]),
        ("outlier", [said(id="x-9", glucose=55.0), said(id="x-10", glucose=48.0)]),
    ]
    lines = found + [each for _, more in spoilt for each in more]
    chance.shuffle(lines)
    return lines


def said(**more: object) -> str:
    whole = {"id": "x", "patient": "p-1", "taken_at": "2026-03-02T00:00:00Z", "glucose": 6.0, "unit": "mmol/l"}
    return json.dumps(whole | more)


def line(number: int, chance: random.Random) -> str:
    """Some in the other unit, with other letters and spaces, as devices do."""
    value, old = round(chance.gauss(6, 0.8), 2), chance.random() < 0.3
    return said(
        id=f"m-{number}",
        patient=chance.choice(["p-{}", " P-{}", "p-{} "]).format(number % 10),
        taken_at=(BEGIN + timedelta(minutes=37 * number)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        glucose=round(value * 18.016, 1) if old else value,
        unit=chance.choice(["mg/dl", " MG/dL"] if old else ["mmol/l", "mmol/L "]),
    )


def oracle(lines: list[str]) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """The same by plain Python, written apart from the job: rows by id, and how many are left out for which reason."""
    left: dict[str, int] = {}
    kept: dict[str, dict[str, Any]] = {}
    for text in sorted(lines):
        try:
            found = json.loads(text)
            given = found if isinstance(found, dict) else None
        except ValueError:
            given = None
        reason = "no-json" if given is None else wrong(given)
        if reason is None and given is not None and given["id"].strip() in kept:
            reason = "repeated"
        if reason is not None or given is None:
            left[str(reason)] = left.get(str(reason), 0) + 1
            continue
        at = datetime.strptime(given["taken_at"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        kept[given["id"].strip()] = {
            "id": given["id"].strip(),
            "patient": given["patient"].strip().lower(),
            "at": at,
            "glucose": mmol(given),
        }
    middle = statistics.median(row["glucose"] for row in kept.values())
    scale = statistics.median(abs(row["glucose"] - middle) for row in kept.values())
    far = [name for name, row in kept.items() if abs(row["glucose"] - middle) > 6 * scale]
    for name in far:
        del kept[name]
    return featured(list(kept.values())), left | {"outlier": len(far)}


def mmol(given: dict[str, Any]) -> float:
    value = given["glucose"] / 18.016 if given["unit"].strip().lower() == "mg/dl" else given["glucose"]
    return round(float(value), 4)


def wrong(given: dict[str, Any]) -> str | None:
    """The first thing that is wrong with a line by itself."""
    if not (given.get("id") or "").strip():
        return "no-id"
    if not (given.get("patient") or "").strip():
        return "no-patient"
    try:
        datetime.strptime(given["taken_at"], "%Y-%m-%dT%H:%M:%SZ")
    except (TypeError, ValueError):
        return "no-time"
    if not isinstance(given["glucose"], float):
        return "no-value"
    if given["unit"].strip().lower() not in ("mg/dl", "mmol/l"):
        return "unknown-unit"
    return None if 1 <= mmol(given) <= 60 else "impossible"


def featured(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    values = [row["glucose"] for row in rows]
    mean, spread = statistics.fmean(values), statistics.pstdev(values)
    last: dict[str, tuple[int, float]] = {}
    for row in sorted(rows, key=lambda each: (each["at"], each["id"])):
        before, value = last.get(row["patient"], (0, None))
        row |= {"before": before, "change": None if value is None else row["glucose"] - value}
        row |= {"glucose_z": (row["glucose"] - mean) / spread, "hour": row["at"].hour}
        last[row["patient"]] = (before + 1, row["glucose"])
    return sorted(rows, key=lambda each: str(each["id"]))


@pytest.fixture(scope="module")
def room() -> Iterator[sparking.Spark]:
    with sparking.spark() as found:
        for number in range(3):  # as several devices send them
            found.put(f"raw/{number}.json", "\n".join(raw()[number::3]).encode())
        yield found


def test_a_lost_driver_is_repeated_and_the_table_is_right_once(room: sparking.Spark, tmp_path: Path) -> None:
    words = (f"s3a://{room.bucket}/raw/", TABLE)
    lost = room.start("first", CLEANING, *words)

    def written() -> list[str] | None:
        """Its rows are in the store, and no state of the table has them yet."""
        found = room.objects(".parquet")
        assert found or lost.poll() is None, room.log("first")
        return found or None

    wait_for("rows in the store", written, timeout=600, every=0.05)
    room.lose(lost)
    (tmp_path / "job.py").write_bytes(CLEANING.read_bytes())
    (tmp_path / "look.py").write_text(LOOK)
    room.finish("second", tmp_path / "look.py", *words, str(tmp_path / "seen.json"))
    seen = json.loads((tmp_path / "seen.json").read_text())
    rows, left = oracle(raw())
    assert [row["id"] for row in seen["rows"]] == [row["id"] for row in rows] and len(rows) == 300
    for found, true in zip(seen["rows"], rows, strict=True):
        assert found["patient"] == true["patient"] and found["taken_at"][:19] == true["at"].isoformat()[:19]
        assert (found["before"], found["hour"]) == (true["before"], true["hour"])
        assert found["glucose"] == pytest.approx(true["glucose"], abs=2e-4)
        assert found["glucose_z"] == pytest.approx(true["glucose_z"], abs=1e-3)
        assert found["change"] == (None if true["change"] is None else pytest.approx(true["change"], abs=4e-4))
    prefix = "apadana.left-out."
    counted = {name.removeprefix(prefix): int(n) for name, n in seen["summary"].items() if name.startswith(prefix)}
    assert counted == left, "the reasons stand in the commit that has the rows"
    assert (seen["states"], seen["runs"][1]["changed"]) == (1, False), "committed once; a repeat changes nothing"
    assert [name for name in room.objects("") if name.startswith("events/eventlog")], "nothing for the history server"
