"""What a deployed component must bring to be proved; what lacks is a FAIL, not a gap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from components.kit import contract
from components.kit.probing import Check, Verdict
from validate.core import causes

#: file of a room -> what is not proved without it
FILES = {
    "probe.py": "nothing of it is proved",
    "faults.yaml": "what happens when it breaks is not proved",
    "load.yaml": "what it holds under load is not proved",
    "backup.py": "that it can be restored is not proved",
    "alerts.yaml": "that somebody is told when it breaks is not proved",
}
#: What the contract's promise of loss says of a component that has nothing to back up.
KEEPS_NOTHING = "keeps nothing"


def stateless(component: contract.Component) -> bool:
    """Whether it promises that nothing can be lost with it."""
    promised = component.promises
    return promised is not None and promised.loss.startswith(KEEPS_NOTHING)


def needed(component: contract.Component, file: str) -> bool:
    """A backup is asked of whatever keeps something or says that it has one."""
    return file != "backup.py" or component.backup is not None or not stateless(component)


def checks(chosen: Sequence[contract.Component], rooms: Path, files: Sequence[str] = tuple(FILES)) -> Iterator[Check]:
    """One Check for each component and file; `rooms` holds a folder for each component."""
    if not chosen:
        yield Check("components", Verdict.INVALID, "the contract lists no component")
    for component in chosen:
        for file in filter(partial(needed, component), files):
            name = f"{file.partition('.')[0]} of {component.name}"
            if (rooms / component.name / file).is_file():
                yield Check(name, Verdict.PASS, f"{rooms.name}/{component.name}/{file}")
                continue
            detail = (
                f"{component.name} is deployed ({component.mode}) and {rooms.name}/"
                f"{component.name}/{file} does not exist: {FILES[file]}"
            )
            yield Check(name, Verdict.FAIL, detail, {"cause": causes.NOT_COVERED})
