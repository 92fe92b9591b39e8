"""Tickets as they might arrive: generated, since nobody's real ones may lie in a repository. Pure.

Two desks write differently. A fault's name alone tells little: what it does to people tells more, and some tickets
leave that out. Some have typing errors.
"""

from __future__ import annotations

import random

from problems.quality import Record

DEVICES = ("infusion pump", "patient monitor", "ventilator", "analyser", "centrifuge", "label printer", "scanner")
FAULTS = (
    "shows no picture",
    "restarts by itself",
    "lost its network",
    "says error 41",
    "is slow",
    "beeps all the time",
)
PLACES = ("room 4", "the second floor", "intake", "the night shift's corner", "bay 12")
HARM = (
    "A patient depends on it and we have no other one.",
    "Doses can't be checked while it is like this.",
    "The operation had to be stopped.",
    "Blood for the emergency room can't be matched.",
    "He was without oxygen for a minute already.",
    "Results of two patients were mixed up.",
    "The alarm did not sound when her pulse fell.",
)
PATIENCE = (
    "No patient depends on it, and we have another one.",
    "Doses can be checked by hand meanwhile.",
    "The operation was over by then.",
    "Blood for the emergency room is matched next door.",
    "It is only for training, no hurry.",
    "Results of two patients had to be printed again.",
    "The alarm did sound, and somebody was there.",
)
SILENCE = ("Please have a look.", "It began this morning.", "Serial number is on the form.", "Same as last month.")
#: Of tickets with harm, and how often a ticket does not say what its fault does.
HARMFUL, SILENT, MISTYPED = 0.4, 0.15, 0.3


def tickets(count: int, seed: int) -> list[Record]:
    """The same seed gives the same tickets, and no two are the same."""
    chance = random.Random(seed)
    found: dict[tuple[object, ...], Record] = {}
    while len(found) < count:
        made = _ticket(chance)
        found.setdefault(tuple(made.values()), made)
    return list(found.values())


def _ticket(chance: random.Random) -> Record:
    harm = chance.random() < HARMFUL
    desk = chance.choice((1, 2))
    device, fault, place = chance.choice(DEVICES), chance.choice(FAULTS), chance.choice(PLACES)
    told = SILENCE if chance.random() < SILENT else HARM if harm else PATIENCE
    lines = [f"The {device} in {place} {fault}.", chance.choice(told), chance.choice(SILENCE)]
    if desk == 2:  # the laboratory writes as on a form
        lines = [f"Device: {device}. Place: {place}. Fault: {fault}.", *lines[1:]]
    body = " ".join(lines)
    if chance.random() < MISTYPED:
        at = chance.randrange(len(body) - 1)
        body = body[:at] + body[at + 1] + body[at] + body[at + 2 :]
    return {"desk": desk, "subject": f"{device} {fault}", "body": body, "harm": int(harm)}
