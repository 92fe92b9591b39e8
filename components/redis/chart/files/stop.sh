#!/bin/sh
# Before the stop of a primary: hand over to a replica, so that clients wait about a second instead of a
# failure detection. Asked of the other pods' Sentinels, because the one beside stops at the same time.
set -u
. /opt/apadana/lib.sh
role() { call health "$SELF" 6379 INFO replication | field role; }
[ "$(role)" = master ] || exit 0
for sentinel in $(peers); do
  [ "$sentinel" = "$SELF" ] && continue
  [ "$(call sentinel "$sentinel" 26379 SENTINEL FAILOVER "$PRIMARY_SET")" = OK ] || continue
  until=$(($(date +%s) + 12))
  while [ "$(date +%s)" -lt "$until" ]; do
    [ "$(role)" = slave ] && exit 0
    sleep 0.3
  done
done
exit 0
