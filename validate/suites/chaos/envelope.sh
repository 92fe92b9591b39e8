# shellcheck shell=sh
# What runs on the target machine (POSIX sh, root): a fault's folder, its watchdog, its undo.
#
# <root>/<id>/apply, undo    the scripts
#            deadline       seconds of the machine's own clock since boot (/proc/uptime)
#            state          arming | armed | applied | undo-failed
#            lock           held while apply or undo runs
# <root>/journal             one line a change of state: uptime, id, state
#
# A folder is there exactly as long as its fault may be. Everything is a function, called on the
# very last line: a script that arrives cut off does nothing at all.

uptime_s() {
	read -r up _ </proc/uptime
	echo "${up%%.*}"
}

say() { # id state [words]
	printf '%s %s\n' "$2" "${3:-}" >"$ROOT/$1/state"
	printf '%s %s %s %s\n' "$(uptime_s)" "$1" "$2" "${3:-}" >>"$ROOT/journal"
}

die() {
	echo "$*" >&2
	exit 1
}

arm() { # id seconds
	id=$1 seconds=$2 DIR=$ROOT/$1
	# Whoever asked may be gone; what has begun ends all the same.
	trap '' PIPE HUP INT TERM
	umask 077
	mkdir -p "$ROOT"
	mkdir "$DIR" 2>/dev/null || die "the fault $id is there already, or $ROOT can't be written"
	say "$id" arming
	text_of_undo >"$DIR/undo"
	text_of_apply >"$DIR/apply"
	: >"$DIR/lock"
	echo $(($(uptime_s) + seconds)) >"$DIR/deadline"
	text_of_self >"$DIR/self"
	sync "$DIR"/* 2>/dev/null || sync
	watch "$id" "$seconds"
	say "$id" armed
	if flock -o "$DIR/lock" sh -eu "$DIR/apply" </dev/null 2>"$DIR/error" >&2; then
		say "$id" applied
		return 0
	fi
	why=$(tail -c 400 "$DIR/error" 2>/dev/null)
	undo "$id" || :
	die "could not be applied: ${why:-its folder is gone}"
}

watch() { # id seconds: undoes at the deadline whatever becomes of the caller
	if [ -d /run/systemd/system ]; then
		# What an exec or ssh session started may be reaped with it; a transient timer is not.
		systemd-run --quiet --collect --unit="apadana-fault-$1" --on-active="$2s" \
			--timer-property=AccuracySec=500ms -- sh "$ROOT/$1/self" "$ROOT" expire "$1"
	else
		setsid sh "$ROOT/$1/self" "$ROOT" expire "$1" </dev/null >/dev/null 2>&1 &
	fi
}

expire() { # id
	deadline=$(cat "$ROOT/$1/deadline" 2>/dev/null) || return 0
	while [ -d "$ROOT/$1" ] && [ "$(uptime_s)" -lt "$deadline" ]; do sleep 0.5; done
	tries=0
	while [ -d "$ROOT/$1" ] && [ $tries -lt 120 ]; do
		undo "$1" 2>/dev/null || sleep 1
		tries=$((tries + 1))
	done
}

undo() { # id: does nothing where nothing is left; whoever comes second waits for the first
	trap '' PIPE HUP INT TERM
	[ -d "$ROOT/$1" ] || return 0
	if [ ! -e "$ROOT/$1/self" ]; then
		# It was never armed: nothing was applied.
		rm -rf "${ROOT:?}/$1"
		return 0
	fi
	flock -o "$ROOT/$1/lock" sh "$ROOT/$1/self" "$ROOT" settle "$1" && return 0
	[ ! -d "$ROOT/$1" ]
}

settle() { # id, under its lock
	DIR=$ROOT/$1
	[ -d "$DIR" ] || return 0
	if ! sh -eu "$DIR/undo" </dev/null 2>"$DIR/error" >&2; then
		why=$(tail -c 400 "$DIR/error" | tr '\n' ' ')
		say "$1" undo-failed "$why"
		die "undo of $1 failed: $why"
	fi
	say "$1" undone
	if [ -d /run/systemd/system ]; then
		systemctl stop "apadana-fault-$1.timer" 2>/dev/null || :
	fi
	rm -rf "$DIR"
}

list() { # a line for each fault that may still be there: id, state, seconds to its deadline
	for folder in "$ROOT"/*/; do
		[ -d "$folder" ] || continue
		id=$(basename "$folder")
		deadline=$(cat "$folder/deadline" 2>/dev/null || uptime_s)
		echo "$id $((deadline - $(uptime_s))) $(cat "$folder/state" 2>/dev/null || echo arming)"
	done
}

recover() { # undoes all that is left, and says for each what came of it
	bad=0
	for folder in "$ROOT"/*/; do
		[ -d "$folder" ] || continue
		id=$(basename "$folder")
		if why=$(undo "$id" 2>&1); then echo "$id undone"; else
			echo "$id failed $why"
			bad=1
		fi
	done
	return $bad
}

told() { # id: its lines of the journal
	[ ! -f "$ROOT/journal" ] || awk -v id="$1" '$2 == id' "$ROOT/journal"
}

main() {
	ROOT=$1 verb=$2
	shift 2
	"$verb" "$@"
}
