"""Measurements of patients, raw as devices send them, made into one table. Runs in Spark, as one file.

    job.py RAW TABLE        RAW: a folder of JSON lines, s3a://bucket/folder/; TABLE: name.name in the catalogue

    {"id": "m-1", "patient": "p-17", "taken_at": "2026-03-01T08:30:00Z", "glucose": 99.0, "unit": "mg/dl"}

Units are made one, what is broken or impossible or there twice is left out, then what lies far from all others; each
row is given its features. The table changes by one commit, which holds the rows, how many were left out for which
reason, and the digest of what was read. A repeat on the same input finds that digest and changes nothing, so a driver
that died may begin anew.
"""

from __future__ import annotations

import json
import sys

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as f

RULES = "1"  # raised when the same input is to give other rows
MG_PER_MMOL = 18.016
LEAST, MOST = 1.0, 60.0  # mmol/l in a living patient
FAR = 6.0  # medians of the distance from the median
FIELDS = "id string, patient string, taken_at string, glucose double, unit string"
REASONS = ("no-json", "no-id", "no-patient", "no-time", "no-value", "unknown-unit", "impossible", "repeated", "outlier")


def read(spark: SparkSession, raw: str) -> DataFrame:
    """Each line with what it says; a line that is no JSON says nothing."""
    return spark.read.text(raw).select("value", f.from_json("value", FIELDS).alias("said"))


def digest(lines: DataFrame) -> str:
    """The same for the same lines, in whatever order and files they came."""
    hashed = f.xxhash64("value").cast("decimal(38,0)")
    found = lines.agg(f.count("value").alias("lines"), f.coalesce(f.sum(hashed), f.lit(0)).alias("sum")).first()
    assert found is not None
    return f"{RULES}-{found['lines']}-{found['sum']}"


def normalised(lines: DataFrame) -> DataFrame:
    """One unit, one spelling, one kind of time."""
    said = {name: f.col(f"said.{name}") for name in ("id", "patient", "taken_at", "glucose", "unit")}
    unit = f.lower(f.trim(said["unit"]))
    value = f.when(unit == "mg/dl", said["glucose"] / MG_PER_MMOL).when(unit == "mmol/l", said["glucose"])
    return lines.select(
        "value",
        f.trim(said["id"]).alias("id"),
        f.lower(f.trim(said["patient"])).alias("patient"),
        f.try_to_timestamp(said["taken_at"]).alias("taken_at"),
        f.round(value, 4).alias("glucose"),
        said["glucose"].alias("given"),
        unit.alias("unit"),
        (said["id"].isNull() & said["patient"].isNull() & said["unit"].isNull()).alias("silent"),
    )


def broken(rows: DataFrame) -> DataFrame:
    """`reason`: the first thing that is wrong with a row by itself, or with its being there again."""
    again = Window.partitionBy("id").orderBy(f.col("taken_at").asc_nulls_last(), "value")
    alone: Column = (
        f.when(f.col("silent"), "no-json")
        .when(_lacks("id"), "no-id")
        .when(_lacks("patient"), "no-patient")
        .when(f.col("taken_at").isNull(), "no-time")
        .when(f.col("given").isNull() | f.isnan("given"), "no-value")
        .when(f.col("glucose").isNull(), "unknown-unit")
        .when(~f.col("glucose").between(LEAST, MOST), "impossible")
    )
    judged = rows.withColumn("reason", alone)
    sound = judged.where(f.col("reason").isNull()).withColumn("turn", f.row_number().over(again))
    repeated = sound.withColumn("reason", f.when(f.col("turn") > 1, "repeated")).drop("turn")
    return judged.where(f.col("reason").isNotNull()).unionByName(repeated)


def _lacks(name: str) -> Column:
    return f.col(name).isNull() | (f.col(name) == "")


def outliers(rows: DataFrame) -> DataFrame:
    """By medians: a few wild values do not move the measure that they are judged by."""
    sound = rows.where(f.col("reason").isNull())
    middle = sound.agg(f.median("glucose").alias("middle"))
    away = sound.crossJoin(middle).withColumn("away", f.abs(f.col("glucose") - f.col("middle")))
    scale = away.agg(f.median("away").alias("scale"))
    measured = away.crossJoin(scale)
    # Where most are the same, nothing is told of those that differ.
    judged = f.when((f.col("scale") > 0) & (f.col("away") > FAR * f.col("scale")), "outlier")
    found = measured.withColumn("reason", judged).drop("middle", "away", "scale")
    return rows.where(f.col("reason").isNotNull()).unionByName(found)


def features(rows: DataFrame) -> DataFrame:
    """What a model asks of a measurement: how it stands among all, and to the patient's own before it."""
    own = Window.partitionBy("patient").orderBy("taken_at", "id")
    every = rows.agg(f.avg("glucose").alias("mean"), f.stddev_pop("glucose").alias("spread"))
    z = f.when(f.col("spread") > 0, (f.col("glucose") - f.col("mean")) / f.col("spread")).otherwise(0.0)
    return rows.crossJoin(every).select(
        "id",
        "patient",
        "taken_at",
        "glucose",
        f.round(z, 4).alias("glucose_z"),
        f.round(f.col("glucose") - f.lag("glucose").over(own), 4).alias("change"),
        (f.row_number().over(own) - 1).alias("before"),
        f.hour("taken_at").alias("hour"),
    )


def committed(spark: SparkSession, table: str) -> dict[str, str]:
    """What the state that counts says of itself; nothing where there is no table yet."""
    if not spark.catalog.tableExists(table):
        return {}
    asked = f"SELECT s.summary FROM {table}.snapshots s JOIN {table}.refs r USING (snapshot_id) WHERE r.name = 'main'"
    found = spark.sql(asked).first()
    return dict(found["summary"]) if found is not None else {}


def run(spark: SparkSession, raw: str, table: str) -> dict[str, object]:
    """What was done, for the log."""
    lines = read(spark, raw)
    seen = digest(lines)
    if committed(spark, table).get("apadana.input") == seen:
        return {"table": table, "input": seen, "changed": False}
    judged = outliers(broken(normalised(lines))).persist()  # counted, then written
    counted = {row["reason"]: row["count"] for row in judged.groupBy("reason").count().collect()}
    kept = int(counted.pop(None, 0))
    left = {reason: int(counted.get(reason, 0)) for reason in REASONS}
    namespace = table.rpartition(".")[0]
    spark.sql(f"CREATE NAMESPACE IF NOT EXISTS {namespace}")
    # A few partitions: a file for each would be many small ones.
    writer = features(judged.where(f.col("reason").isNull())).coalesce(1).writeTo(table).using("iceberg")
    told = {"apadana.input": seen, **{f"apadana.left-out.{reason}": str(count) for reason, count in left.items()}}
    for key, value in told.items():
        writer = writer.option(f"snapshot-property.{key}", value)
    writer.createOrReplace()
    return {"table": table, "input": seen, "changed": True, "kept": kept, "left_out": left}


def main(words: list[str]) -> int:
    """2 where the words are wrong."""
    if len(words) != 2 or "." not in words[1]:
        sys.stderr.write("two words are needed: a folder of JSON lines, and a table like clinic.glucose\n")
        return 2
    spark = SparkSession.builder.getOrCreate()
    sys.stdout.write(json.dumps(run(spark, words[0], words[1])) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
