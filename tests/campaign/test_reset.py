"""reset.yml gives the hosts back as it found them, and `make up` builds the same site again."""

from __future__ import annotations

import pytest

from tests import lab

pytestmark = pytest.mark.campaign
#: What a fresh host and one that was given back are compared by: names, for times differ anyway.
FOOTPRINT = r"""
find /etc /opt /srv /usr/local /var/lib /var/log /run/apadana -xdev 2>/dev/null \
  -not -path '/var/lib/systemd/*' -not -path '/var/log/journal/*' -not -path '/var/lib/dpkg/*' \
  -not -path '/var/lib/apt/*' -not -path '/etc/ssl/certs/*' | sort | sed 's/^/file /'
dpkg-query -W -f '${Package} ${db:Status-Abbrev}\n' | sort | sed 's/^/package /'
systemctl list-units --type=service --state=running --no-legend --plain | cut -d' ' -f1 |
  grep -v '^session\|^user' | sort | sed 's/^/unit /'
findmnt -rno TARGET | sort | sed 's/^/mount /'
ls /sys/class/net | sort | sed 's/^/link /'
nft list tables 2>/dev/null | sort | sed 's/^/rules /' || true
"""


def footprint() -> set[str]:
    return {
        f"{host}: {line}"
        for host in lab.hosts()
        for line in lab.on_host(host, FOOTPRINT, timeout=120).splitlines()
    }


def reset(*more: str) -> lab.Done:
    return lab.playbook("reset", *more, timeout=900)


def test_reset_gives_the_hosts_back_and_make_up_builds_again() -> None:
    down = lab.run("make", "down", f"SITE={lab.SITE}", timeout=600)
    assert down.returncode == 0, lab.told(down)
    bare = lab.playbook("lab", timeout=600)
    assert bare.returncode == 0, lab.told(bare)
    lab.hosts.cache_clear()
    fresh = footprint()
    up = lab.make_up()
    assert up.returncode == 0, lab.told(up)

    refused = reset()
    assert refused.returncode != 0
    assert f"say -e confirm={lab.SITE}" in refused.stdout

    done = reset("-e", f"confirm={lab.SITE}")
    assert done.returncode == 0, lab.told(done)
    left = sorted(footprint() - fresh)
    assert left == []
    again = reset("-e", f"confirm={lab.SITE}")
    assert again.returncode == 0, lab.told(again)

    anew = lab.make_up()
    assert anew.returncode == 0, lab.told(anew)
    status = lab.run("make", "status", f"SITE={lab.SITE}", timeout=180)
    assert status.returncode == 0, lab.told(status)
