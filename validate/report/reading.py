"""Reads a run back: from results.json, from a report's folder, or from a campaign's journal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from components.kit import contract
from validate.campaign.journal import FILE, Journal, Told, result_from
from validate.core.errors import ValidateError
from validate.core.model import Run, Table
from validate.report.seal import RESULTS


class UnreadableError(ValidateError):
    """What was named holds no run."""


def run_from(data: Mapping[str, Any]) -> Run:
    """The opposite of results.json; what this version doesn't know is left out."""
    known = {f.name for f in fields(Run)}
    values = {key: value for key, value in data.items() if key in known}
    values["results"] = [result_from({k: v for k, v in record.items() if k != "test"}) for record in data["results"]]
    values["tables"] = [Table(**table) for table in data.get("tables", [])]
    return Run(**values)


def read(path: Path) -> tuple[Run, Path]:
    """The run, and the folder that its raw records are named from."""
    if path.is_dir():
        for name in (RESULTS, FILE):
            if (path / name).is_file():
                return read(path / name)
        raise UnreadableError(f"{path} holds neither {RESULTS} nor {FILE}: name a report's folder")
    try:
        if path.name == FILE:
            return _from_journal(path.parent), path.parent / "records"
        return run_from(json.loads(path.read_bytes())), path.parent
    except OSError as error:
        raise UnreadableError(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableError(
            f"{path} holds no run: {type(error).__name__}: {error}; name a {RESULTS} or a {FILE}"
        ) from error


def _from_journal(folder: Path) -> Run:
    """What a campaign found so far, also when it was never finished: <site>/campaigns/<id>."""
    told = Journal(folder).read()
    if not told.plan:
        raise ValueError("the journal has no plan: it is not the start of one")
    name = folder.parent.parent.name
    command = str(told.plan["command"])
    run = Run(command.capitalize(), name, f"{command} --stack {name}", "-", started=told.began)
    run.plan_digest = str(told.plan["digest"])
    run.finished = told.began + told.spent
    for outcome in told.done.values():
        run.results += outcome.results
        run.tables += outcome.tables
        run.limits += [text for text in outcome.limits if text not in run.limits]
        run.assumptions += [text for text in outcome.assumptions if text not in run.assumptions]
    run.left_out = _left(told)
    platform = contract_of(folder.parent.parent)
    if platform.is_file():
        run.bundle_digest = contract.load(platform).bundle_digest
    return run


def _left(told: Told) -> list[str]:
    ended = {*told.done, *told.left}
    left = [f"{step}: {why}" for step, why in told.left.items()]
    left += [f"{step}: the budget has no room for it" for step in told.plan["left_out"]]
    return left + [
        f"{step['id']}: the campaign ended before it" for step in told.plan["steps"] if step["id"] not in ended
    ]


def contract_of(reports: Path) -> Path:
    """<state root>/reports/<site> -> <state root>/<site>/platform.json, there or not."""
    return reports.parent.parent / reports.name / "platform.json"


def contract_digest(reports: Path) -> str:
    """SHA-256 of the contract that the run proved; '' where there is none."""
    try:
        raw = contract_of(reports).read_bytes()
    except OSError:
        return ""
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"
