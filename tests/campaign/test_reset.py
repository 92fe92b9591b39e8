"""reset.yml leaves nothing of the site on its hosts, and `make up` builds it again there."""

from __future__ import annotations

import pytest

from tests import lab

pytestmark = pytest.mark.campaign
#: Packages stay, they hold nothing of the site; so do the keys by which SSH knows the host.
LEFT = r"""
for unit in kubelet containerd haproxy keepalived docker-registry apadana-firewall; do
  if systemctl is-active --quiet "$unit"; then echo "runs: $unit"; fi
done
pgrep -l 'etcd|kube-|containerd|pause|minio|java|postgres|valkey' | sed 's/^/process: /' || true
findmnt -rno TARGET | grep -E '/volumes/|/kubelet/|containerd|netns' | sed 's/^/mounted: /' || true
ls /sys/class/net | grep -E '^kube|^veth' | sed 's/^/link: /' || true
find /etc/kubernetes /etc/cni /var/lib/etcd /var/lib/kubelet /var/lib/containerd \
  /var/lib/apadana/disks /var/lib/apadana/volumes \
  /var/log/kubernetes -type f 2>/dev/null | head -20 | sed 's/^/file: /'
grep -rIl -e '-----BEGIN.*PRIVATE KEY' /etc /root /var/lib 2>/dev/null |
  grep -v '^/etc/ssh/ssh_host_' | sed 's/^/key: /' || true
"""


def left() -> list[str]:
    return [
        f"{host}: {line}"
        for host in lab.hosts()
        for line in lab.on_host(host, LEFT, timeout=60).splitlines()
    ]


def reset(*more: str) -> lab.Done:
    return lab.playbook("reset", *more, timeout=900)


def test_reset_leaves_nothing_and_make_up_builds_again() -> None:
    refused = reset()
    assert refused.returncode != 0
    assert f"say -e confirm={lab.SITE}" in " ".join(refused.stdout.split())
    assert left()  # the look itself sees what a site is made of

    for _ in range(2):  # the second one finds nothing to do
        done = reset("-e", f"confirm={lab.SITE}")
        assert done.returncode == 0, lab.told(done)
        assert left() == []

    up = lab.make_up()
    assert up.returncode == 0, lab.told(up)
    lab.assert_whole()
