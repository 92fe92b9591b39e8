"""Before a playbook begins: nobody else works on the site, and no play that all others stand on is left out.

It is a callback, because these live in Ansible's own process from its start to its end.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar, trust_as_template

sys.path.append(str(Path(__file__).resolve().parents[2]))

from common import locking

REFUSED = 3
PLAYBOOKS = Path(__file__).resolve().parents[1]
ONLY_LOOK = ("check.yml",)


def left_out(limit: str | None, hosts: list[str], chosen: list[str]) -> str:
    """`--limit` that leaves out localhost, where the inventory is read, all hosts are looked at together, and a reset
    is asked for by name; "" where it does not."""
    if not limit or "localhost" not in hosts or "localhost" in chosen:
        return ""
    return (
        f"--limit {limit} leaves out localhost: what is asked there, before anything is changed, would not be asked. "
        f"Nothing was changed. Give --limit '{limit},localhost', or none: hosts that are as wanted are left alone"
    )


class CallbackModule(CallbackBase):
    """Ours alone: a playbook of another folder is not its matter."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "one_hand"
    CALLBACK_NEEDS_ENABLED = False

    def __init__(self) -> None:
        super().__init__()
        self.playbook: Path | None = None
        self.hosts: list[str] = []

    def v2_playbook_on_start(self, playbook: Any) -> None:
        file = Path(playbook._file_name).resolve()
        if file.parent == PLAYBOOKS:
            self.playbook = file
            # One name alone is kept as a string.
            named = [[play.hosts] if isinstance(play.hosts, str) else play.hosts for play in playbook.get_plays()]
            self.hosts = [host for hosts in named for host in hosts]

    def v2_playbook_on_play_start(self, play: Any) -> None:
        if self.playbook is None:
            return
        file, self.playbook = self.playbook, None  # once, before the first play
        manager = play.get_variable_manager()
        chosen = [host.name for host in manager._inventory.get_hosts("localhost")]
        self.refuse(left_out(context.CLIARGS.get("subset"), self.hosts, chosen))
        if file.name in ONLY_LOOK or context.CLIARGS.get("check"):
            return
        site, state = self.said(manager, play, "site_name"), self.said(manager, play, "site_state")
        if site and state:
            try:
                locking.hold_for(os.getpid(), Path(state).parent, site, f"ansible-playbook {file.name}")
            except locking.Taken as taken:
                self.refuse(str(taken))

    def refuse(self, why: str) -> None:
        if why:
            self._display.error(why, wrap_text=False)
            # No exception of Ansible's: those of callbacks are told as defects.
            raise SystemExit(REFUSED)

    @staticmethod
    def said(manager: Any, play: Any, name: str) -> str:
        """A variable of the site, as any of its hosts has it."""
        hosts = manager._inventory.get_hosts(ignore_limits=True, ignore_restrictions=True)
        if not hosts:
            return ""
        variables = manager.get_vars(play=play, host=hosts[0])
        if name not in variables:
            return ""
        return str(
            Templar(loader=manager._loader, variables=variables).template(trust_as_template(f"{{{{ {name} }}}}"))
        )
