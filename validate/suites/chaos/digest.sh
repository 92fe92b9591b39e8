# shellcheck shell=sh
# What a fault could leave on a machine, as lines `key<tab>value`. Arguments: the folder of the
# faults, then `n=<name>=<pid>` for a network namespace and `p=<path>` for a data folder.

tell() { # key; the value comes on stdin, one entry for each line
	while IFS= read -r line; do
		[ -z "$line" ] || printf '%s\t%s\n' "$1" "$line"
	done
}

faults_on() { # root
	for folder in "$1"/*/; do [ ! -d "$folder" ] || basename "$folder"; done | tell "fault folders"
	grep -F " $1/" /proc/self/mountinfo | awk '{ print $5 }' | tell "mounts"
	grep -lsaF "$1" /proc/[0-9]*/cmdline | while read -r file; do
		cat "$file" 2>/dev/null | tr '\0' ' ' | grep -F "$1 expire" | cut -c 1-200
	done | tell "watchdogs"
	nft list tables 2>/dev/null | grep apadana_fault_ | tell "nft tables"
	# Those that anything stopped: a name may hold blanks, so the state is sought after the last ).
	cat /proc/[0-9]*/stat 2>/dev/null | sed -n 's/^\([0-9]* .*)\) T .*/\1/p' | tell "stopped processes"
}

namespace_of() { # name pid
	[ -e "/proc/$2/ns/net" ] || return 0
	if [ "$(readlink "/proc/$2/ns/net")" = "$(readlink /proc/1/ns/net)" ]; then return 0; fi
	nsenter -t "$2" -n nft -s list ruleset 2>/dev/null | tell "nft of $1"
	nsenter -t "$2" -n tc qdisc show 2>/dev/null | tell "qdisc of $1"
	nsenter -t "$2" -n iptables-save 2>/dev/null | grep '^-' | tell "iptables of $1"
}

main() {
	root=$1
	shift
	faults_on "$root"
	for item in "$@"; do
		case $item in
		n=*)
			rest=${item#n=}
			namespace_of "${rest%%=*}" "${rest##*=}"
			;;
		p=*)
			for file in "${item#p=}"/.apadana-fault-*; do
				[ ! -e "$file" ] || echo "$file"
			done | tell "files of faults"
			;;
		esac
	done
}
main "$@"
