#!/bin/sh
# Before the stop of a primary: hand over to a replica, so that clients wait about a second instead of a
# failure detection. Asked of the other pods' Sentinels, because the one beside stops at the same time.
#
# SENTINEL FAILOVER promotes a replica and tells the old primary 8 to 18 s later. Until then the old one goes
# on to take writes, and for a while the other replica to confirm them to WAIT: acknowledged, and gone once
# both follow the new one; and it answers reads with what is old. So it refuses both first, hands over only
# when every replica has all that it took, and follows the new one at once.
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

others() { for peer in $(peers); do [ "$peer" = "$SELF" ] || echo "$peer"; done; }

promoted() {
  for peer in $(others); do
    [ "$(call health "$peer" 6379 INFO replication | field role)" = master ] && new=$peer && return 0
  done
  return 1
}

all_name_it() {
  for sentinel in $(others); do
    name=$(call sentinel "$sentinel" 26379 SENTINEL MASTER "$PRIMARY_SET" | sed -n '/^ip$/{n;p;q}')
    [ "$name" = "$new" ] || return 1
  done
}

# One that says OK is left to it: a second failover would take the new primary by surprise.
handed_over() {
  for sentinel in $(others); do
    [ "$(call sentinel "$sentinel" 26379 SENTINEL FAILOVER "$PRIMARY_SET")" = OK ] || continue
    within 12 promoted || return 1
    # The Sentinels would see to it 8 to 18 s later.
    call admin "$SELF" 6379 REPLICAOF "$new" 6379 >/dev/null
    within 10 all_name_it
    call admin "$SELF" 6379 CLIENT KILL TYPE normal SKIPME yes >/dev/null
    return 0
  done
  return 1
}

[ "$(role)" = master ] || exit 0
if refuse_clients && within 4 every_replica_has "$(info | field master_repl_offset)" && handed_over; then
  say "handed over to $new"
else
  # It goes on as it was: SIGTERM waits for the replicas, and the Sentinels notice the rest.
  say "could not hand over"
fi
take_clients # of a replica, too: those who read there, and for the day when it is primary again
