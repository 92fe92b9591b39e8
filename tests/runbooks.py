"""The runbooks' commands, taken from their own text.

A step is a fenced block with a name: ```sh step=begin-anew. It is run as it stands, in the shell of
the site, with the variables that the runbook asks for.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.places import REPOSITORY

STEP = re.compile(r"^```sh step=(?P<name>[a-z][a-z-]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`]+)`")
ENDS = {"|", "||", "&", "&&", ";", ")", "<", ">"}
SPACE = " \t"
#: What a person sets before a step.
ASKED = frozenset({"SITE", "MEMBER", "CLAIM", "BECAUSE"})
VALUED = frozenset(
    {
        *("-n", "--namespace", "-c", "--container", "-l", "--selector", "-L", "--label-columns", "-o", "--output"),
        *(
            "-p",
            "--patch",
            "-f",
            "--filename",
            "--type",
            "--for",
            "--timeout",
            "--tail",
            "--since",
            "--replicas",
            "--from",
            "--raw",
        ),
    }
)
PLAIN = frozenset(
    {
        "-i",
        "-t",
        "-it",
        "-A",
        "--force",
        "--wait",
        "--previous",
        "--show-labels",
        "--ignore-daemonsets",
        "--delete-emptydir-data",
    }
)


@dataclass(frozen=True)
class Step:
    room: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.room}: {self.name}"

    def unset(self) -> set[str]:
        """Variables that neither the step sets nor a person is asked for."""
        used = set(re.findall(r"(?<!\\)\$\{?([A-Z][A-Z_]*)", re.sub(r"'[^']*'", "", self.text)))
        return used - ASKED - set(re.findall(r"^([A-Z][A-Z_]*)=", self.text, re.MULTILINE))

    def run(self, environment: Mapping[str, str], seconds: float) -> subprocess.CompletedProcess[str]:
        """Stops at the first command that fails."""
        command = ["bash", "-euo", "pipefail", "-c", self.text]
        return subprocess.run(
            command,
            cwd=REPOSITORY,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )


@dataclass(frozen=True)
class Kubectl:
    """One call of it: `flags` by name, what is not a flag in order, what runs inside after `--`."""

    verb: str
    words: tuple[str, ...]
    flags: Mapping[str, str]
    inside: tuple[str, ...]
    text: str

    @property
    def namespace(self) -> str:
        return self.flags.get("-n") or self.flags.get("--namespace") or ""

    @property
    def container(self) -> str:
        return self.flags.get("-c") or self.flags.get("--container") or ""


def runbooks() -> dict[str, str]:
    """The text of each, by room."""
    found = sorted((REPOSITORY / "components").glob("*/RUNBOOK.md"))
    return {file.parent.name: file.read_text(encoding="utf-8") for file in found}


def steps(room: str, text: str) -> list[Step]:
    return [Step(room, each["name"], each["text"]) for each in STEP.finditer(text)]


def step(room: str, name: str) -> Step:
    """By its name; KeyError where the runbook has none."""
    return {each.name: each for each in steps(room, runbooks()[room])}[name]


def snippets(text: str) -> Iterator[str]:
    """All code of a runbook: its steps, its other blocks, and what stands between backquotes."""
    yield from (each["text"] for each in STEP.finditer(text))
    yield from (code.replace("\n", " ") for code in CODE.findall(FENCE.sub("", text)))


def kubectls(text: str) -> Iterator[Kubectl]:
    """Every call of kubectl that says what is to be done, also those inside $( )."""
    for snippet in snippets(text):
        for line in snippet.splitlines():
            for start in re.finditer(r"(?<![\w/-])kubectl ", line):
                found = parsed(line[start.start() :])
                if found.verb:
                    yield found


def parsed(text: str) -> Kubectl:
    words = list(_words(text))[1:]
    flags: dict[str, str] = {}
    plain: list[str] = []
    while words:
        word = words.pop(0)
        if word == "--":
            break
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            plain.append(word)
        elif equals:
            flags[name] = value
        else:
            flags[word] = words.pop(0) if word in VALUED and words else ""
    return Kubectl(plain[0] if plain else "", tuple(plain[1:]), flags, tuple(words), text)


def _words(text: str) -> Iterator[str]:
    """Of one simple command, unquoted; variables stay as they are."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    for word in lexer:
        if word in ENDS:
            return
        yield word


def placeholder(word: str) -> bool:
    """What a person puts in: $MEMBER, NAME, <name>."""
    return "$" in word or "<" in word or (word.isupper() and word.isalpha())


def refused(text: str) -> str:
    """Why bash can't read it; nothing where it can."""
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, timeout=20, check=False)
    return done.stderr


def mentioned(text: str, pattern: str) -> Sequence[str]:
    return [found for snippet in snippets(text) for found in re.findall(pattern, snippet)]


def exists(relative: str) -> bool:
    return (REPOSITORY / Path(relative)).exists()
