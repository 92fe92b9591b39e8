#!/bin/sh
# What a site leaves on a host, one line each; nothing after a reset. Packages stay, they hold nothing of the
# site; so do the keys by which SSH knows the host.
set -eu

for unit in kubelet containerd haproxy keepalived docker-registry apadana-firewall; do
  if systemctl is-active --quiet "$unit"; then echo "runs: $unit"; fi
done
pgrep -l 'etcd|kube-|containerd|pause|minio|java|postgres|valkey' | sed 's/^/process: /' || true
findmnt -rno TARGET | grep -E '/volumes/|/kubelet/|containerd|netns' | sed 's/^/mounted: /' || true
for link in /sys/class/net/kube* /sys/class/net/veth*; do
  if [ -e "$link" ]; then echo "link: ${link##*/}"; fi
done
find /etc/kubernetes /etc/cni /var/lib/etcd /var/lib/kubelet /var/lib/containerd \
  /var/lib/apadana/disks /var/lib/apadana/volumes \
  /var/log/kubernetes -type f 2>/dev/null | head -20 | sed 's/^/file: /'
grep -rIl -e '-----BEGIN [A-Z ]*PRIVATE KEY-----' /etc /root /var/lib 2>/dev/null |
  grep -v '^/etc/ssh/ssh_host_' | sed 's/^/key: /' || true
