# shellcheck shell=sh disable=SC2034  # sourced: what is set here is used by the scripts
# Shared by the scripts of the pods; POSIX sh. Passwords go by environment into valkey-cli, never by argv.
AUTH=/etc/apadana/auth
TLS=/etc/apadana/tls
RUN=/run/valkey
SELF="$POD_NAME.$MEMBERS_SERVICE"

say() { echo "$(date -u +%FT%TZ) $(basename "$0"): $*"; }

secret() { cat "$AUTH/$1-password"; }

# A substitution inside a here-document hides its failure: an empty password must stop the start.
need_secrets() {
  for user in "$@"; do
    [ -s "$AUTH/$user-password" ] && [ -r "$AUTH/$user-password" ] && continue
    say "cannot read $AUTH/$user-password: the Secret lacks this key, or its mode keeps uid $(id -u) out"
    exit 1
  done
}

hash() { printf '%s' "$(secret "$1")" | sha256sum | cut -d' ' -f1; }

peers() { i=0; while [ "$i" -lt "$MEMBERS" ]; do echo "$STATEFULSET-$i.$MEMBERS_SERVICE"; i=$((i + 1)); done; }

# call USER HOST PORT COMMAND...: one command over TLS; fails within 3 s when the other side does not answer.
call() {
  user=$1 host=$2 port=$3; shift 3
  password=$(secret "$user")
  REDISCLI_AUTH=$password VALKEYCLI_AUTH=$password \
    timeout 3 valkey-cli --no-auth-warning --user "$user" -h "$host" -p "$port" \
    --tls --cacert "$TLS/ca.crt" "$@" 2>/dev/null
}

# believed SENTINEL...: what these Sentinels answer, as lines "EPOCH HOST".
believed() {
  for sentinel in "$@"; do
    reply=$(call sentinel "$sentinel" 26379 SENTINEL MASTER "$PRIMARY_SET") || continue
    host=$(printf '%s\n' "$reply" | sed -n '/^ip$/{n;p;q}')
    epoch=$(printf '%s\n' "$reply" | sed -n '/^config-epoch$/{n;p;q}')
    [ -n "$host" ] && [ -n "$epoch" ] && printf '%s %s\n' "$epoch" "$host"
  done
  return 0
}

# chosen LEAST: of lines "EPOCH HOST" on stdin the newest configuration, as such a line. Fails where fewer than LEAST
# were there, and where as many name one host as another in the newest: a Sentinel that learns of a new primary whose name
# it can't ask for in that moment takes the new epoch and keeps the old primary, and is never told again.
chosen() {
  sort | uniq -c | sort -k2,2nr -k1,1nr | {
    answers=0 votes=0 best=
    while read -r count epoch host; do
      answers=$((answers + count))
      if [ -z "$best" ]; then votes=$count best="$epoch $host"
      elif [ "$epoch" = "${best%% *}" ] && [ "$count" = "$votes" ]; then exit 1; fi
    done
    [ "$answers" -ge "$1" ] && [ -n "$best" ] && printf '%s\n' "$best"
  }
}

# believed_primary: the host that the Sentinels name. Fails while fewer than a majority answer, so that a member cut off
# decides nothing.
believed_primary() {
  # shellcheck disable=SC2046  # a list of names, split on purpose
  newest=$(believed $(peers) | chosen $((MEMBERS / 2 + 1))) && printf '%s\n' "${newest##* }"
}

others() { peers | grep -vx "$SELF"; }

# field NAME: one field of INFO on stdin.
field() { tr -d '\r' | sed -n "s/^$1://p" | head -n 1; }
