#!/bin/sh
# Alive: the Sentinel has not spun since the last look. An ICMP error that meets a connect leaves an entry
# on the socket that hiredis never takes away: epoll then returns at once for ever, and Sentinel eats its
# whole share of CPU (valkey issue 4766, hiredis pull request 1375). A restart costs it nothing: what it
# has learnt is on the volume. Shell built-ins only: this runs all day.
set -eu
spins=10 # ticks a second (1/100 s each): a tenth of a core. A calm Sentinel uses one.
pid=${1:-1} seen=${2:-/run/valkey/sentinel-cpu}

read -r line < "/proc/$pid/stat"
# After the name, which may hold blanks: utime is the 12th, stime the 13th, the start the 20th.
# shellcheck disable=SC2086  # a list of numbers, split on purpose
set -- ${line##*) }
ticks=$((${12} + ${13})) born=${20}
read -r now _ < /proc/uptime
now=${now%.*}

before=
if [ -r "$seen" ]; then read -r before earlier at < "$seen"; fi
echo "$born $ticks $now" > "$seen"
[ "$before" = "$born" ] && [ "$now" -gt "$at" ] || exit 0 # the first look at this process
used=$((ticks - earlier)) seconds=$((now - at))
[ "$used" -lt $((seconds * spins)) ] ||
  { echo "Sentinel spins: $((used / seconds)) % of a core for $seconds s"; exit 1; }
