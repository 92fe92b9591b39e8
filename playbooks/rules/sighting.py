"""What one look into a host says of its part of a cluster: the script, and how it is read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from playbooks.rules.membership import Etcd, Host, Peer

# Of what a host lacks nothing is said. An earlier run may work on after its playbook was killed:
# what it makes is half a member meanwhile, so the look waits where `busy` was said.
WAIT_SECONDS = 540
LOCK = "/run/apadana/host.lock"
WAIT = f"flock -w {WAIT_SECONDS} {LOCK} true\n"
LOOK = rf"""
if [ -e {LOCK} ] && ! flock -n {LOCK} true; then echo busy=yes; fi
k=/etc/kubernetes
if [ -e $k/.apadana-member ]; then echo member=yes; fi
if [ -e $k/.apadana-begun ]; then echo "begun=$(cat $k/.apadana-begun)"; fi
for data in /var/lib/etcd /var/lib/apadana/volumes/system/*/data; do
  if [ -d "$data/member" ]; then echo "data=$data"; fi
done
for image in /var/lib/apadana/disks/system-*.img; do
  name=${{image##*/system-}}
  if [ -e "$image" ] && ! mountpoint -q "/var/lib/apadana/volumes/system/${{name%.img}}"; then
    echo unmounted=yes
  fi
done
for unit in /etc/systemd/system/var-lib-apadana-volumes-system-*.mount; do
  if [ -e "$unit" ] && ! mountpoint -q "$(sed -n 's/^Where=//p' "$unit")"; then echo unmounted=yes; fi
done
if [ -e $k/kubelet.conf ]; then
  echo "kubelet=$(systemctl is-active kubelet.service)"
  told=$(sed -n 's/.*--hostname-override=\([^ "]*\).*/\1/p' /var/lib/kubelet/kubeadm-flags.env)
  echo "node=${{told:-$(cat /proc/sys/kernel/hostname)}}"
fi
if [ -e $k/pki/ca.crt ]; then echo "ca=$(sha256sum < $k/pki/ca.crt)"; fi
if [ -e /etc/apadana/pki/ca.crt ]; then echo "site_ca=$(sha256sum < /etc/apadana/pki/ca.crt)"; fi
if [ -e $k/manifests/etcd.yaml ]; then
  sed -n 's,.*--initial-advertise-peer-urls=https://\(.*\):2380.*,peer=\1,p' $k/manifests/etcd.yaml
fi
if [ -e $k/pki/etcd/healthcheck-client.key ] && command -v etcdctl >/dev/null; then
  ask() {{
    etcdctl --endpoints=https://127.0.0.1:2379 --command-timeout=8s --cacert=$k/pki/etcd/ca.crt \
      --cert=$k/pki/etcd/healthcheck-client.crt --key=$k/pki/etcd/healthcheck-client.key \
      "$@" 2>/dev/null
  }}
  if told=$(ask --write-out=json member list); then
    echo "etcd=$told"
    ask get /registry/minions/ --prefix --keys-only | sed -n 's,^/registry/minions/,api=,p'
  fi
fi
"""


def values(out: str, key: str) -> list[str]:
    """What was said under a key, in order."""
    told = [line.partition("=") for line in out.splitlines()]
    return [value.strip() for said, _, value in told if said == key]


def value(out: str, key: str) -> str:
    return next(iter(values(out, key)), "")


def host(name: str, address: str, *, plane: bool, out: str) -> Host:
    """A host as its look tells it."""
    return Host(
        name=name,
        address=address,
        plane=plane,
        marked=bool(value(out, "member")),
        begun=value(out, "begun"),
        data=value(out, "data"),
        unmounted=bool(value(out, "unmounted")),
        kubelet=value(out, "kubelet"),
        node=value(out, "node").lower(),
        ca=value(out, "ca").split(" ")[0],
        peer=value(out, "peer"),
        etcd=etcd(value(out, "etcd"), values(out, "api")),
    )


def etcd(told: str, nodes: Iterable[str]) -> Etcd | None:
    """`etcdctl --write-out=json member list`; its numbers are what etcdctl takes in hexadecimal."""
    if not told:
        return None
    found = json.loads(told)
    peers = tuple(
        Peer(
            f"{member['ID']:x}",
            "" if member.get("isLearner") else member.get("name", ""),
            address(member.get("peerURLs", [])),
        )
        for member in found.get("members", [])
    )
    return Etcd(f"{found['header']['cluster_id']:x}", peers, frozenset(nodes))


def address(urls: Iterable[str]) -> str:
    """Of a peer, out of https://10.0.0.1:2380."""
    found = (re.fullmatch(r"https?://(.+):\d+", url) for url in urls)
    return next((match[1] for match in found if match), "")
