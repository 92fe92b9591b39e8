# shellcheck shell=sh
# What the scripts of the kinds share. $DIR is the fault's folder, $FAULT its id.

die() {
	echo "$*" >&2
	exit 1
}

# A process is its number and the moment it started: numbers are used again.
start_of() { # pid
	line=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
	# shellcheck disable=SC2086  # split into fields; the name before them may hold blanks
	set -- ${line##*) }
	echo "${20}"
}

alive() { # pid start
	[ "$(start_of "$1" || :)" = "$2" ]
}

# pid, parent, start, state of every process. A name may hold anything, brackets and newlines too.
processes() {
	cat /proc/[0-9]*/stat 2>/dev/null | awk '
		/^[0-9]+ \(/ { pid = $1 }
		/\) [A-Za-z] [0-9]+ / { sub(/^.*\) /, ""); print pid, $2, $20, $1 }'
}

# "pid start" of the given "pid:start" that still live, and of all that descend from them.
tree() {
	processes | awk -v wanted="$*" '
		BEGIN { n = split(wanted, list, " "); for (i = 1; i <= n; i++) root[list[i]] = 1 }
		{ parent[$1] = $2; start[$1] = $3; if (($1 ":" $3) in root) in_tree[$1] = 1 }
		END {
			do {
				grew = 0
				for (p in parent) if (!(p in in_tree) && (parent[p] in in_tree)) {
					in_tree[p] = 1; grew = 1
				}
			} while (grew)
			# Parents first: one that outlives its child may start another.
			for (p in in_tree) if ((p ":" start[p]) in root) print p, start[p]
			for (p in in_tree) if (!((p ":" start[p]) in root)) print p, start[p]
		}'
}

# The network namespace is held by a mount: it outlives the process through which it was found.
hold_netns() { # pid:start
	alive "${1%%:*}" "${1##*:}" || die "process ${1%%:*} is gone"
	: >"$DIR/netns"
	mount --bind "/proc/${1%%:*}/ns/net" "$DIR/netns"
	nsenter --net="$DIR/netns" true
}

held_netns() {
	grep -qF " $DIR/netns " /proc/self/mountinfo
}

release_netns() {
	while held_netns; do umount "$DIR/netns" || return 1; done
}

in_netns() {
	nsenter --net="$DIR/netns" "$@"
}

shares_netns() { # pid:start: is it the machine's own?
	theirs=$(readlink "/proc/${1%%:*}/ns/net") || return 1
	[ "$theirs" = "$(readlink /proc/1/ns/net)" ] || [ "$theirs" = "$(readlink /proc/self/ns/net)" ]
}
