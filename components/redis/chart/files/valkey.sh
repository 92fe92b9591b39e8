#!/bin/sh
# Starts Valkey in the role that the Sentinels name. A member never makes itself primary on its own word.
set -eu
. /opt/apadana/lib.sh

umask 077
# shellcheck disable=SC2086  # a list of names, split on purpose
need_secrets admin health metrics replication sentinel $CONSUMERS
started=$(date +%s)

write_acl() {
  # Least privilege; default is off. INFO is in @dangerous, so it comes back by name.
  # +wait and +waitaof: a client may ask for its acknowledgement.
  cat > "$RUN/users.acl" <<ACL
user default off resetkeys resetchannels -@all
user admin on #$(hash admin) ~* &* +@all
user health on #$(hash health) resetkeys resetchannels -@all +ping +info
user metrics on #$(hash metrics) resetkeys resetchannels -@all +ping +info +slowlog|len +latency|latest
user replication on #$(hash replication) resetkeys resetchannels -@all +ping +psync +replconf
user sentinel on #$(hash sentinel) resetkeys &* -@all +multi +slaveof +replicaof +ping +exec +subscribe +config|rewrite +role +publish +info +client|setname +client|kill +script|kill
ACL
  rules=$(cat /opt/apadana/consumer.acl)
  for entry in $KEYS_OF_USERS; do
    consumer=${entry%%=*}
    keys=$(printf '%s' "${entry#*=}" | tr ',' ' ')
    echo "user $consumer on #$(hash "$consumer") resetkeys $keys $rules" >> "$RUN/users.acl"
  done
}

write_config() { # $1: host of the primary, empty when it is this member
  cp /opt/apadana/valkey.conf "$RUN/valkey.conf"
  {
    echo "aclfile $RUN/users.acl"
    echo "masteruser replication"
    echo "masterauth $(secret replication)"
    echo "replica-announce-ip $SELF"
    echo "replica-announce-port 6379"
    if [ -n "$1" ]; then echo "replicaof $1 6379"; fi
  } >> "$RUN/valkey.conf"
  chmod 600 "$RUN/valkey.conf"
}

# A replica that was up before this start holds everything that was acknowledged. This member's own
# file may lack its last second (appendfsync everysec). So it lets the replica be promoted.
older_replica() {
  for peer in $(peers); do
    [ "$peer" = "$SELF" ] && continue
    info=$(call health "$peer" 6379 INFO) || continue
    up=$(printf '%s\n' "$info" | field uptime_in_seconds)
    offset=$(printf '%s\n' "$info" | field slave_repl_offset)
    if [ "${up:-0}" -gt $(($(date +%s) - started + 2)) ] && [ "${offset:-0}" -gt 1 ]; then
      printf '%s\n' "$peer"; return 0
    fi
  done
  return 1
}

write_acl
handover_until=0
while :; do
  primary=$(believed_primary) || primary=
  if [ -z "$primary" ]; then
    say "waiting for a majority of $MEMBERS Sentinels to name the primary"
    sleep 1
  elif [ "$primary" != "$SELF" ]; then
    say "replica of $primary"
    write_config "$primary"; break
  elif peer=$(older_replica); then
    now=$(date +%s)
    [ "$handover_until" -eq 0 ] && handover_until=$((now + HANDOVER_SECONDS))
    if [ "$now" -ge "$handover_until" ]; then
      say "named primary; no replica was promoted in ${HANDOVER_SECONDS}s though $peer is up: going on as primary"
      write_config ""; break
    fi
    say "named primary, but $peer was up before this start: waiting for the Sentinels to promote a replica"
    sleep 1
  else
    say "named primary, and no replica is older than this start: primary"
    write_config ""; break
  fi
done
exec valkey-server "$RUN/valkey.conf"
