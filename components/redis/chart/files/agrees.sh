#!/bin/sh
# Agrees: the Sentinel names the primary that the others name. One that was told of a new primary while names could not
# be asked for keeps the old one for ever (lib.sh says how), and sends its clients to a replica. It starts anew as the
# others are. Who can't be asked, or is not of one mind, decides nothing.
set -eu
. /opt/apadana/lib.sh

own=$(believed "$SELF" | chosen 1) || exit 0
# shellcheck disable=SC2046  # a list of names, split on purpose
newest=$(believed $(others) | chosen $((MEMBERS / 2 + 1))) || exit 0
[ "${own##* }" = "${newest##* }" ] || [ "${newest%% *}" -lt "${own%% *}" ] ||
  { echo "this Sentinel names ${own##* } (epoch ${own%% *}), the others ${newest##* } (epoch ${newest%% *})"; exit 1; }
