"""The register: clauses of the contract, the tests that prove them, the owners of what is on paper.

requirements.yaml holds the clauses, tests.yaml maps a clause to globs over the names of tests,
paper.yaml names owner, date and document of what no program proves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from validate.core.errors import ValidateError

HERE = Path(__file__).parent
PAPER = "paper"
Glob = Annotated[str, Field(pattern=r"^[^/]+/[^/]+/[^/]+$")]
Layer = Literal["platform", "ml", "devops", "rehearsal", "paper"]
LAYERS: tuple[str, ...] = get_args(Layer)


#: The one in C reads the clauses ten times faster; both make nothing but plain data.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class RegisterError(ValidateError):
    """A file of the register is missing or wrong."""


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Clause(_Row):
    """One demand of the contract; `must`: the main document makes it."""

    id: Annotated[str, Field(pattern=r"^[A-Z]+-\d+$")]
    statement: Annotated[str, Field(min_length=1)]
    must: bool
    proof: Literal[
        "install", "smoke", "functional", "integration", "fault", "load", "stress", "security", "document", "review"
    ]
    layer: Layer
    names: list[str] = []


class ClauseProof(_Row):
    """Which tests prove a clause, and what of it they leave open."""

    tests: list[Glob] = []
    partly: str = ""
    elsewhere: str = ""

    @model_validator(mode="after")
    def _says_something(self) -> ClauseProof:
        if not self.tests and not self.elsewhere:
            raise ValueError("give tests, or elsewhere")
        if self.partly and not self.tests:
            raise ValueError("partly tells what tests leave open, and there are none")
        return self


class Paper(_Row):
    """What a person settles: who, by or at which day, in which document."""

    owner: Annotated[str, Field(min_length=1)]
    date: date
    document: str = ""


@dataclass(frozen=True)
class Register:
    clauses: tuple[Clause, ...]
    proofs: Mapping[str, ClauseProof]
    paper: Mapping[str, Paper]


def load(paper: Path | None = None, folder: Path = HERE) -> Register:
    """The register; `paper` is a site's own file. All mistakes of all files at once."""
    wrong: list[str] = []
    clauses = _read(folder / "requirements.yaml", list[Clause], wrong) or []
    proofs = _read(folder / "tests.yaml", dict[str, ClauseProof], wrong) or {}
    owners = dict(_read(folder / "paper.yaml", dict[str, Paper], wrong) or {})
    if paper is not None:
        owners |= _read(paper, dict[str, Paper], wrong) or {}
    if not wrong:
        wrong = _mistakes(clauses, proofs, owners, folder, paper)
    if wrong:
        raise RegisterError("the register of clauses is wrong:\n  " + "\n  ".join(wrong))
    return Register(tuple(clauses), proofs, owners)


def matches(glob: str, test: str) -> bool:
    """`*` stays within its part: smoke/*/write is no test of another suite."""
    wanted, found = glob.split("/", 2), test.split("/", 2)
    return len(wanted) == len(found) and all(map(fnmatchcase, found, wanted))


def _read(path: Path, shape: Any, wrong: list[str]) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        wrong += [f"{path}: {key} stands there twice" for key in _twice(text)]
        return TypeAdapter(shape).validate_python(yaml.load(text, _LOADER))  # noqa: S506  safe, in C
    except OSError as error:
        wrong.append(f"{path}: {error.strerror}")
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        wrong.append(f"{path} is no YAML: {error}")
    except ValidationError as error:
        for one in error.errors():
            place = ".".join(str(part) for part in one["loc"])
            wrong.append(f"{path}: {place}: {one['msg']} (it is {one['input']!r:.80})")
    return None


def _twice(text: str) -> list[str]:
    """Keys of the outermost mapping: YAML takes the last one and says nothing."""
    node = yaml.compose(text, Loader=_LOADER)
    found = [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
    return sorted({key for key in found if found.count(key) > 1})


def _mistakes(
    clauses: list[Clause], proofs: dict[str, ClauseProof], owners: dict[str, Paper], folder: Path, paper: Path | None
) -> list[str]:
    ids = [clause.id for clause in clauses]
    on_paper = {clause.id for clause in clauses if clause.layer == PAPER}
    wrong = [
        f"{folder / 'requirements.yaml'}: {i} stands there twice" for i in sorted({i for i in ids if ids.count(i) > 1})
    ]
    tests = folder / "tests.yaml"
    wrong += [f"{tests}: there is no clause {i}" for i in proofs if i not in ids]
    wrong += [
        f"{tests}: {i} is of the layer paper, which no test proves: name its owner in paper.yaml"
        for i in proofs
        if i in on_paper
    ]
    place = paper or folder / "paper.yaml"
    for i in owners:
        if i not in ids:
            wrong.append(f"{place}: there is no clause {i}")
        elif i not in on_paper:
            wrong.append(f"{place}: {i} is not of the layer paper: a test proves it, no owner")
    return wrong
