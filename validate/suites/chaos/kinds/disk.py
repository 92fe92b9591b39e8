"""A disk that is full: one file takes the rest of the member's own file system."""

from __future__ import annotations

import shlex

from validate.suites.chaos.envelope import Injection

#: Its name tells a fault's file from data even when the machine forgot the fault in a reboot.
PREFIX = ".apadana-fault-"


def disk_full(path: str, leave_bytes: int) -> Injection:
    """Refused where the path lies on a file system that others need too."""
    at = shlex.quote(path)
    apply = f"""
[ -d {at} ] || die "{path} is not a folder here"
mine=$(stat -c %d {at})
for other in / /var /var/lib /run /tmp /var/log; do
	if [ "$(stat -c %d "$other")" = "$mine" ]; then
		die "{path} shares its file system with $other: that would be full for others too"
	fi
done
free=$(df --output=avail -B1 {at} | tail -n 1)
size=$((free - {leave_bytes}))
[ "$size" -gt 0 ] || die "only $free bytes are free on {path}: it is full already"
fallocate -l "$size" {at}/{PREFIX}"$FAULT"
"""
    return Injection("disk-full", apply, f'rm -f {at}/{PREFIX}"$FAULT"')


def forgotten(paths: list[str]) -> str:
    """A script: files of faults that the machine no longer knows, removed; their names."""
    listed = " ".join(shlex.quote(p) for p in paths)
    return f"""
main() {{
	root=$1
	for at in {listed}; do
		for file in "$at"/{PREFIX}*; do
			[ -f "$file" ] || continue
			[ ! -d "$root/${{file##*/{PREFIX}}}" ] || continue
			rm -f "$file" && echo "$file"
		done
	done
}}
main "$@"
"""
