"""The gateway's platform half: the listener in the namespace, and its certificate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.gateway import settings as room
from components.kit.component import PlatformComponent
from components.kit.webs import TLS_SECRET


class Gateway(PlatformComponent[room.Settings]):
    """One Gateway for all pages; the proxies behind it are the cluster half's."""

    def managed(self) -> Mapping[str, Any]:
        """The certificate of `*.<web_domain>`, then the Gateway."""
        names = room.dns_names(self.site)
        self.tls_secret(TLS_SECRET, names, (), usage="server")
        self.install(room.values(self.settings, self.site))
        return room.contract(self.settings, self.site)
