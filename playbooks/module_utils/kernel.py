"""Settings of a host's kernel: modules, sysctls, swap. Standard library only: it runs on bare hosts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.host import StateError, run

PROC_SYS = Path("/proc/sys")
SWAPS = "/proc/swaps"


def differences(wanted: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """(kind, name, wanted, seen) of what one role wants of the kernel."""
    for module in wanted.get("modules") or []:
        if not any(Path(place).exists() for place in module["evidence"]):
            yield "module", module["name"], "loaded", "absent"
    for key, value in (wanted.get("sysctls") or {}).items():
        path = PROC_SYS / key.replace(".", "/")
        seen = " ".join(path.read_text().split()) if path.exists() else "absent"
        if seen != str(value):
            yield "sysctl", key, str(value), seen
    if wanted.get("swap_off") and len(Path(SWAPS).read_text().splitlines()) > 1:
        yield "swap", SWAPS, "off", "on"


def mend(wanted: dict[str, Any], kinds: set[tuple[str, str]]) -> None:
    """Modules first: some settings are a module's own."""
    for module in wanted.get("modules") or []:
        if ("module", module["name"]) in kinds:
            run("modprobe", module["name"])
    if ("swap", SWAPS) in kinds:
        run("swapoff", "--all")
    for key, value in (wanted.get("sysctls") or {}).items():
        if ("sysctl", key) in kinds:
            try:
                (PROC_SYS / key.replace(".", "/")).write_text(f"{value}\n")
            except OSError as error:
                raise StateError(f"sysctl {key}={value} is refused: {error}") from None
