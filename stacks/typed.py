"""Values of the command line of `python -m stacks.models`, as they are typed."""

from __future__ import annotations

from stacks.wishes import ModelsError

NONE = "none"


def floor(text: str) -> float | str:
    """As it is typed; which numbers are allowed the wish says."""
    return text if text == NONE else float(text)


def beside(text: str) -> tuple[str, str]:
    """NAME=VERSION, as it is typed; which ones are allowed the wish says."""
    name, _, version = text.partition("=")
    return name, version


def once(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """By name. Raises ModelsError for a name that is there twice."""
    names = [name for name, _ in pairs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ModelsError(f"--beside names {', '.join(twice)} more than once; allowed: one version of each")
    return dict(pairs)
