"""Why a step failed, or does not begin: a word of ours, out of what the engine says of it. Pure, and the standard
library alone: the portal's pods run this very file, by a link.
"""

from __future__ import annotations

import re

#: What each word means to people. An alert carries the word, pages and commands say the meaning.
MEANING = {
    "out-of-memory": "it was out of memory",
    "deadline": "it took longer than it may",
    "no-access": "it could not read or reach its data",
    "gate": "it failed a gate",
    "diverged": "the training came to nothing",
    "wrong-use": "it was called with what it does not take",
    "lost": "its pod was lost with its host",
    "stopped": "somebody stopped it",
    "refused": "the engine refused it",
    "image": "its image can't be fetched",
    "volume": "a volume is missing",
    "settings": "a Secret or ConfigMap that it names is missing or wrong",
    "no-room": "no host has room for it",
    "turn": "too many workflows run at once: it waits for its turn",
    "not-begun": "its pod has not come up",
    "error": "it failed",
}
#: How a step of a problem ends (problems/steps.py), where the word can't be seen otherwise.
EXIT_CODES = {2: "wrong-use", 3: "gate", 4: "diverged", 5: "no-access"}
EXIT_CODE = re.compile(r"^(?:main: )?\w+ \(exit code (\d+)\)")

Words = tuple[tuple[str, re.Pattern[str]], ...]


def _words(**patterns: str) -> Words:
    return tuple((word.replace("_", "-"), re.compile(text, re.IGNORECASE)) for word, text in patterns.items())


#: The first that is found counts: what is ended at its deadline may end with 137, too.
FAILED = _words(
    image=r"ErrImage|ImagePullBackOff|InvalidImageName",
    settings=r"CreateContainerConfigError",
    deadline=r"exceeded.{0,20} deadline|specified deadline|DeadlineExceeded|Max duration limit exceeded",
    stopped=r"shutdown with strategy",
    out_of_memory=r"OOMKilled|\(exit code 137\)|low on resource: memory|out of memory|MemoryError|bad_alloc",
    lost=r"pod deleted|NodeShutdown|imminent node shutdown|low on resource|node .{0,60}not ready|NodeLost|Evicted",
    no_access=r"^init: |failed to (load|put|save) artifacts?",
)
WAITS = _words(
    image=r"ErrImage|ImagePullBackOff|InvalidImageName",
    settings=r"CreateContainerConfigError|(secret|configmap) .{0,120}not found",
    volume=r"PersistentVolumeClaim|volume",
    no_room=r"Unschedulable|nodes are available|exceeded quota",
    turn=r"too many workflows|postponed|waiting for .{0,120}lock",
)


def failed(message: str, *, problem: bool = False) -> str:
    """The word for a step that failed. `problem`: it is one of ours, whose exit codes are known."""
    code = EXIT_CODE.search(message)
    if problem and code and (word := EXIT_CODES.get(int(code[1]))):
        return word
    return _found(FAILED, message) or "error"


def waits(message: str) -> str:
    """The word for a step that has not begun."""
    return _found(WAITS, message) or "not-begun"


def _found(words: Words, message: str) -> str:
    return next((word for word, pattern in words if pattern.search(message)), "")
