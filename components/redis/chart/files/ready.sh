#!/bin/sh
# Ready: the primary, or a replica whose link is up. A drain counts on this.
set -eu
. /opt/apadana/lib.sh
info=$(call health "$SELF" 6379 INFO replication) || { echo "no answer on 6379"; exit 1; }
role=$(printf '%s\n' "$info" | field role)
link=$(printf '%s\n' "$info" | field master_link_status)
[ "$role" = master ] || [ "$link" = up ] || { echo "role $role, link to the primary $link"; exit 1; }
