#!/usr/bin/python3
"""Restarts (or reloads) units and waits until each is well; for handlers, one host at a time."""

from __future__ import annotations

import socket
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: unit_restarted
short_description: Restart units and wait for their health
options:
  units: {type: list, elements: str, required: true, description: Units to restart}
  ports: {type: list, elements: int, default: [], description: TCP ports that must answer then}
  deadline_seconds: {type: int, default: 60, description: Longest wait}
"""


def unwell(units: list[str], ports: list[int]) -> str:
    """What is not well yet; empty when all is."""
    for unit in units:
        asked = ["systemctl", "is-active", unit]
        told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
        if told != "active":
            return f"{unit} is {told}"
    for port in ports:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError as error:
            return f"port {port}: {error}"
    return ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "required": True},
            "ports": {"type": "list", "elements": "int", "default": []},
            "deadline_seconds": {"type": "int", "default": 60},
        }
    )
    units, ports = module.params["units"], module.params["ports"]
    for unit in units:
        done = subprocess.run(["systemctl", "reload-or-restart", unit], capture_output=True, text=True, check=False)
        if done.returncode:
            hint = f"look with `journalctl -u {unit} -n 50`"
            module.fail_json(msg=f"{unit} did not restart: {done.stderr.strip()}; {hint}")
    end = time.monotonic() + module.params["deadline_seconds"]
    while problem := unwell(units, ports):
        if time.monotonic() > end:
            module.fail_json(msg=f"not well {module.params['deadline_seconds']} s after a restart: {problem}")
        time.sleep(0.3)
    module.exit_json(changed=bool(units), restarted=units)


if __name__ == "__main__":
    main()
