"""Faults of processes: killed, or stopped as if the machine had stalled."""

from __future__ import annotations

from collections.abc import Sequence

from validate.suites.chaos.envelope import Injection

#: "pid:start", as lib.sh and `RunningMember` have them.
Process = str


def member_kill(processes: Sequence[Process]) -> Injection:
    """SIGKILL to the processes and all their children; whoever watches over them starts them."""
    apply = f"""
tree {" ".join(processes)} >"$DIR/killed"
[ -s "$DIR/killed" ] || die "none of the processes is there any more"
set --
while read -r pid start; do alive "$pid" "$start" && set -- "$@" "$pid"; done <"$DIR/killed"
kill -KILL "$@" || : # one may just have ended
"""
    return Injection("member-kill", apply)


def freeze(processes: Sequence[Process]) -> Injection:
    """SIGSTOP: connections stay open, nothing answers, leases and heartbeats run out."""
    apply = f"""
: >"$DIR/pids"
fresh=1
while [ $fresh = 1 ]; do # until no child is left that was born meanwhile
	fresh=0
	tree {" ".join(processes)} >"$DIR/tree"
	while read -r pid start; do
		if grep -qx "$pid $start" "$DIR/pids"; then continue; fi
		echo "$pid $start" >>"$DIR/pids" # noted first: what is stopped can be found
		if alive "$pid" "$start" && kill -STOP "$pid"; then fresh=1; fi
	done <"$DIR/tree"
done
[ -s "$DIR/pids" ] || die "none of the processes is there any more"
"""
    undo = """
[ -e "$DIR/pids" ] || return 0
while read -r pid start; do
	if alive "$pid" "$start"; then kill -CONT "$pid"; fi
done <"$DIR/pids"
"""
    return Injection("freeze", apply, undo)


def clock_wrong(process: Process, offset_s: int) -> Injection:
    """Moves the time that a process sees which was started under libfaketime.

    It must have FAKETIME_TIMESTAMP_FILE in its environment; nothing else can change its clock
    without changing that of the whole machine, which is never done.
    """
    pid = process.partition(":")[0]
    apply = f"""
alive {pid} {process.partition(":")[2]} || die "process {pid} is gone"
name=$(tr '\\0' '\\n' </proc/{pid}/environ | sed -n 's/^FAKETIME_TIMESTAMP_FILE=//p')
[ -n "$name" ] || die "it was not started under libfaketime with FAKETIME_TIMESTAMP_FILE"
file=/proc/{pid}/root$name
cp -p "$file" "$DIR/before" 2>/dev/null || : >"$DIR/absent"
echo "$file" >"$DIR/file"
printf '%+ds\\n' {offset_s} >"$file"
"""
    undo = """
[ -e "$DIR/file" ] || return 0
file=$(cat "$DIR/file")
[ -d "$(dirname "$file")" ] || return 0
if [ -e "$DIR/absent" ]; then rm -f "$file"; else cp -p "$DIR/before" "$file"; fi
"""
    return Injection("clock-wrong", apply, undo)
