"""A machine's BMC switches its power: by Redfish, or by IPMI where it speaks nothing better.

Both are told the wish and then asked until it is so: a BMC's "done" means that it has understood.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from validate.core.errors import ClusterError, ValidateError
from validate.ground.kubectl import wait_for

FILE = "power.yaml"  # in the site's state folder


class BmcModel(BaseModel):
    """Unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Login(BmcModel):
    """The password is in a file or in an environment variable, never in the settings."""

    user: str
    password_file: Path | None = None
    password_env: str | None = None

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if (self.password_file is None) == (self.password_env is None):
            raise ValueError("give password_file or password_env, one of the two")
        return self

    def password(self) -> str:
        """ValidateError where it can't be read."""
        if self.password_env is not None:
            found = os.environ.get(self.password_env)
            if not found:
                raise ValidateError(f"{FILE}: password_env {self.password_env} is not set")
            return found
        assert self.password_file is not None
        try:
            return self.password_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ValidateError(f"{FILE}: password_file: {error}") from error


class Redfish(Login):
    """A ComputerSystem of a BMC."""

    url: Annotated[str, Field(pattern=r"^https?://[^/\s]+/redfish/v1/Systems/[^/\s]+$")]
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _hidden(self) -> Self:
        if self.url.startswith("http://") and not self.url.startswith("http://127.0.0.1:"):
            raise ValueError("http would show the password to the network: use https")
        return self


class Ipmi(Login):
    """IPMI 2.0 over RMCP+. Cipher suite 3 (SHA-1) is for BMCs that lack 17 (SHA-256)."""

    address: str
    port: Annotated[int, Field(ge=1, le=65_535)] = 623
    cipher_suite: Literal[3, 17] = 17


@dataclass(frozen=True)
class RedfishHosts:
    """DMTF Redfish: POST .../Actions/ComputerSystem.Reset, then its PowerState is asked for."""

    systems: Mapping[str, Redfish]
    patience: float = 90.0

    def kill(self, host: str) -> None:
        self._reset(host, "ForceOff", "Off")

    def start(self, host: str) -> None:
        self._reset(host, "On", "On")

    def known(self) -> Sequence[str]:
        return sorted(self.systems)

    def _reset(self, host: str, how: str, wanted: str) -> None:
        system = self.systems[host]
        found = self._ask(system, system.url)
        if found.get("PowerState") == wanted:
            return
        action = found.get("Actions", {}).get("#ComputerSystem.Reset", {})
        allowed = action.get("ResetType@Redfish.AllowableValues")
        if allowed is not None and how not in allowed:
            listed = ", ".join(allowed)
            raise ClusterError(f"Redfish of {host}", f"{how} is not offered, only {listed}")
        base = system.url.partition("/redfish/")[0]
        target = action.get("target") or f"{system.url}/Actions/ComputerSystem.Reset"
        self._ask(system, base + target if target.startswith("/") else target, {"ResetType": how})

        def there() -> bool | None:
            return self._ask(system, system.url).get("PowerState") == wanted or None

        wait_for(f"{host} to be {wanted.lower()}", there, timeout=self.patience, every=1.0)

    def _ask(self, system: Redfish, url: str, body: Mapping[str, str] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        login = base64.b64encode(f"{system.user}:{system.password()}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json", "OData-Version": "4.0"}
        request = urllib.request.Request(url, data, headers)
        context = None
        if url.startswith("https:"):
            context = ssl.create_default_context(cafile=system.ca_file)
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                said = answer.read()
        except urllib.error.HTTPError as error:
            raise ClusterError(f"{url}", f"HTTP {error.code} {error.reason}") from error
        except OSError as error:
            raise ClusterError(f"{url}", str(error)) from error
        return json.loads(said) if said else {}


@dataclass(frozen=True)
class IpmiHosts:
    """`chassis power off|on` by ipmitool, which takes the password from its environment."""

    machines: Mapping[str, Ipmi]
    patience: float = 90.0

    def kill(self, host: str) -> None:
        self._switch(host, "off")

    def start(self, host: str) -> None:
        self._switch(host, "on")

    def known(self) -> Sequence[str]:
        return sorted(self.machines)

    def _switch(self, host: str, wanted: str) -> None:
        if self._is(host, wanted):
            return
        self._power(host, wanted)
        wait_for(f"{host} to be {wanted}", lambda: self._is(host, wanted) or None, timeout=self.patience, every=1.0)

    def _is(self, host: str, wanted: str) -> bool:
        return self._power(host, "status").strip().endswith(f" {wanted}")

    def _power(self, host: str, word: str) -> str:
        bmc = self.machines[host]
        command = [
            "ipmitool",
            "-I",
            "lanplus",
            "-H",
            bmc.address,
            "-p",
            str(bmc.port),
            "-U",
            bmc.user,
            "-C",
            str(bmc.cipher_suite),
            "-E",
            "-N",
            "3",
            "-R",
            "2",
            "chassis",
            "power",
            word,
        ]
        place = {**os.environ, "IPMITOOL_PASSWORD": bmc.password()}
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=place, check=False)
        except FileNotFoundError:
            raise ValidateError(
                f"{FILE}: {host} is switched by IPMI, and ipmitool is not on this machine: apt-get install ipmitool"
            ) from None
        except subprocess.TimeoutExpired as error:
            raise ClusterError(f"IPMI of {host}", f"no answer within {error.timeout:g} s") from error
        if done.returncode != 0:
            told = done.stderr.strip() or done.stdout.strip()
            raise ClusterError(f"IPMI of {host}", told or f"ipmitool ended with {done.returncode}")
        return done.stdout
