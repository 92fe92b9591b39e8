#!/bin/sh
# Starts the Sentinel beside this member. What it has learnt (its id, epochs, the primary) is kept on the
# volume: a vote that was given must not be forgotten. Everything else is written anew at each start.
set -eu
. /opt/apadana/lib.sh

umask 077
# shellcheck disable=SC2086  # a list of names, split on purpose
need_secrets admin health replication sentinel $CONSUMERS
state=/data/sentinel
conf=$state/sentinel.conf
mkdir -p "$state"

learnt() { if [ -f "$conf" ]; then grep -E "$1" "$conf" || true; fi; }

monitor=$(learnt "^sentinel monitor $PRIMARY_SET " | tail -n 1)
# First boot, and only then: ordinal 0.
[ -n "$monitor" ] || monitor="sentinel monitor $PRIMARY_SET $STATEFULSET-0.$MEMBERS_SERVICE 6379 $((MEMBERS / 2 + 1))"

# Where all others name another primary, in a configuration that is not older, ours was not taken up whole (lib.sh).
kept='config-epoch|leader-epoch|known-replica|known-sentinel'
if [ -f "$conf" ]; then
  own=$(learnt "^sentinel config-epoch $PRIMARY_SET " | tail -n 1)
  # shellcheck disable=SC2046  # a list of names, split on purpose
  newest=$(believed $(others) | chosen $((MEMBERS / 2 + 1))) || newest=
  case " $monitor " in
    *" ${newest##* } "*) ;;
    *)
      if [ -n "$newest" ] && [ "${newest%% *}" -ge "${own##* }" ]; then
        say "the other Sentinels name ${newest##* }, in epoch ${newest%% *}: so does this one, instead of: $monitor"
        monitor="sentinel monitor $PRIMARY_SET ${newest##* } 6379 $((MEMBERS / 2 + 1))"
        kept='config-epoch|leader-epoch|known-sentinel' # replicas are those of the other primary
      fi
      ;;
  esac
fi

acl=$RUN/sentinel.acl
cat > "$acl" <<ACL
user default off resetkeys resetchannels -@all
user admin on #$(hash admin) ~* &* +@all
user sentinel on #$(hash sentinel) ~* &* +@all
ACL
rules=$(cat /opt/apadana/consumer-sentinel.acl)
for consumer in $CONSUMERS; do
  echo "user $consumer on #$(hash "$consumer") $rules" >> "$acl"
done

# Two Sentinels that see the primary go in the same moment vote for themselves, and nobody is elected. So each
# member waits a little longer than the one before: less than the second between two questions of a Sentinel.
patience=$((DOWN_AFTER_MS + 350 * ${POD_NAME##*-}))

next=$conf.next
{
  cat /opt/apadana/sentinel.conf
  echo "dir $state"
  echo "aclfile $acl"
  echo "sentinel announce-ip $SELF"
  echo "sentinel announce-port 26379"
  echo "sentinel sentinel-user sentinel"
  echo "sentinel sentinel-pass $(secret sentinel)"
  learnt '^sentinel (myid|current-epoch) '
  echo "$monitor"
  echo "sentinel auth-user $PRIMARY_SET sentinel"
  echo "sentinel auth-pass $PRIMARY_SET $(secret sentinel)"
  echo "sentinel down-after-milliseconds $PRIMARY_SET $patience"
  echo "sentinel failover-timeout $PRIMARY_SET $FAILOVER_TIMEOUT_MS"
  echo "sentinel parallel-syncs $PRIMARY_SET 1"
  learnt "^sentinel ($kept) $PRIMARY_SET "
} > "$next"
mv "$next" "$conf"

# A Sentinel that cannot ask for names when it starts stalls over each of them, takes the lost time for a
# broken clock and does nothing for 30 s (TILT). So it waits for its own name, though not for ever.
named_until=$(($(date +%s) + 60))
until getent hosts "$SELF" >/dev/null || [ "$(date +%s)" -ge "$named_until" ]; do
  say "waiting until $SELF has an address"
  sleep 1
done

say "starting with: $monitor"
exec valkey-sentinel "$conf"
