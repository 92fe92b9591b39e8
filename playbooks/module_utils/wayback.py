"""A timed way back: what may lock its own administrator out is undone by the host itself, unless a fresh login says
in time that the way in still is one. Standard library only: it runs on bare hosts.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ansible.module_utils.effects import ruleset
from ansible.module_utils.host import run, unit_states

UNIT = "apadana-way-back"
FOLDER = Path("/run/apadana/way-back")
SECONDS = 300  # restarts of all hosts, one after the other, come before the login


def needed(wanted: dict[str, Any], kinds: set[tuple[str, str]]) -> bool:
    """Whether something that guards the way in is about to change."""
    guarded = {("file", file["path"]) for file in wanted.get("files") or [] if file.get("guards")}
    tables = {("ruleset", rules["table"]) for rules in wanted.get("rulesets") or []}
    return bool(kinds & (guarded | tables))


def arm(wanted: dict[str, Any]) -> None:
    """Keeps what is there now, and starts the clock. What an earlier run kept, and no login has confirmed, stays."""
    states = unit_states([f"{UNIT}.timer"])
    if states[f"{UNIT}.timer"][1] == "active":
        run("systemctl", "stop", f"{UNIT}.timer")
    else:
        keep(wanted)
    clock = (f"--on-active={SECONDS}", "--timer-property=AccuracySec=1s")
    run("systemd-run", "--quiet", "--collect", f"--unit={UNIT}", *clock, "sh", str(FOLDER / "back.sh"))


def keep(wanted: dict[str, Any]) -> None:
    """The files and rules of now, and the script that puts them back."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(mode=0o700, parents=True)
    lines = ["set -u", f"cd {FOLDER}"]
    for number, file in enumerate(each for each in wanted.get("files") or [] if each.get("guards")):
        path = Path(file["path"])
        if path.exists():
            shutil.copy2(path, FOLDER / str(number))
            lines.append(f"cp --preserve=all {number} {path}")
        else:
            lines.append(f"rm -f {path}")
    for number, rules in enumerate(wanted.get("rulesets") or []):
        table = rules["table"]
        text = ruleset(table)
        # `table` first, so that there is one to delete, whatever is in force by then.
        empty = f"table {table}\ndelete table {table}\n"
        (FOLDER / f"{number}.nft").write_text(empty + (text if text.startswith("table ") else ""))
        lines.append(f"nft -f {number}.nft")
    lines += [f"systemctl try-reload-or-restart {unit}" for unit in wanted.get("way_in") or []]
    lines.append("touch went-back")
    (FOLDER / "back.sh").write_text("\n".join(lines) + "\n")
