#!/bin/sh
# Before the stop of a primary: hand over to a replica, so that clients wait about a second instead of a
# failure detection. Asked of the other pods' Sentinels, because the one beside stops at the same time.
#
# SENTINEL FAILOVER promotes a replica and tells the old primary afterwards. Until then the old one goes on
# to take writes, and the other replica to confirm them to WAIT: acknowledged, and gone once both follow the
# new one; and it answers reads with what is old. So it refuses both first, and hands over only when every
# replica has all that it took.
set -u
. /opt/apadana/lib.sh

info() { call health "$SELF" 6379 INFO replication; }
role() { info | field role; }

# Not by `off`, which clients take for a wrong password. WAIT goes on: it is about what was taken before.
refuse_clients() {
  for consumer in $CONSUMERS; do
    [ "$(call admin "$SELF" 6379 ACL SETUSER "$consumer" -@read -@write)" = OK ] || return 1
  done
}
take_clients() { call admin "$SELF" 6379 ACL LOAD >/dev/null; }

# every_replica_has OFFSET: all that are connected, and one at least.
every_replica_has() {
  offsets=$(info | tr -d '\r' | sed -n 's/^slave[0-9]*:.*state=online,offset=\([0-9]*\),.*/\1/p')
  [ -n "$offsets" ] && [ "$(info | tr -d '\r' | grep -c '^slave[0-9]*:')" = "$(echo "$offsets" | wc -l)" ] || return 1
  for offset in $offsets; do [ "$offset" -ge "$1" ] || return 1; done
}

# within SECONDS COMMAND...: asked again until it holds.
within() {
  until=$(($(date +%s) + $1)); shift
  while ! "$@"; do
    [ "$(date +%s)" -lt "$until" ] || return 1
    sleep 0.2
  done
}

is_replica() { [ "$(role)" = slave ]; }

handed_over() {
  for sentinel in $(peers); do
    [ "$sentinel" = "$SELF" ] && continue
    [ "$(call sentinel "$sentinel" 26379 SENTINEL FAILOVER "$PRIMARY_SET")" = OK ] || continue
    within 12 is_replica && return 0
  done
  return 1
}

[ "$(role)" = master ] || exit 0
if refuse_clients && within 4 every_replica_has "$(info | field master_repl_offset)" && handed_over; then
  say "handed over"
else
  # It goes on as it was: SIGTERM waits for the replicas, and the Sentinels notice the rest.
  say "could not hand over"
fi
take_clients # as a replica, too: for the day when it is primary again
