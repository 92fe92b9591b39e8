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

# believed_primary: what a majority of the Sentinels answers, the newest configuration among them.
# Prints "HOST"; fails while fewer than a majority answer, so that a member cut off decides nothing.
believed_primary() {
  answers=0 best_epoch=-1 best=
  for sentinel in $(peers); do
    reply=$(call sentinel "$sentinel" 26379 SENTINEL MASTER "$PRIMARY_SET") || continue
    host=$(printf '%s\n' "$reply" | sed -n '/^ip$/{n;p;q}')
    epoch=$(printf '%s\n' "$reply" | sed -n '/^config-epoch$/{n;p;q}')
    [ -n "$host" ] && [ -n "$epoch" ] || continue
    answers=$((answers + 1))
    if [ "$epoch" -gt "$best_epoch" ]; then best_epoch=$epoch best=$host; fi
  done
  [ "$answers" -gt $((MEMBERS / 2)) ] && printf '%s\n' "$best"
}

# field NAME: one field of INFO on stdin.
field() { tr -d '\r' | sed -n "s/^$1://p" | head -n 1; }
