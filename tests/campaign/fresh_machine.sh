#!/usr/bin/env bash
# Runs a command with another folder as the whole machine: fresh_machine.sh ROOT 'command'.
# Not chroot: what starts containers has to change its root again, which a chroot forbids.
set -euo pipefail
if [ "${3:-}" != inside ]; then exec unshare --mount --propagation private "$0" "$1" "$2" inside; fi
root=$1 command=$2
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mkdir -p "$root/run/lock" "$root/old"
cd "$root"
pivot_root . old
cd /
umount -l /old
exec env -i HOME=/root LANG=C.UTF-8 SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin bash -euo pipefail -c "$command"
