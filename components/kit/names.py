"""What Kubernetes takes as a name, a label, a host. Pure; no library of models is needed for it:
playbooks ask the same questions as settings do.
"""

from __future__ import annotations

import ipaddress
import re

import yaml

#: A member's name, its Service, a namespace of 63 and the cluster's domain are 253 at most.
MOST_OF_DOMAIN = 100
WORK = "-work"  # ends the name of the namespace beside the platform's, for what users bring
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_WORD = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?")


def is_label(text: str) -> bool:
    """A label of DNS, RFC 1123."""
    return _LABEL.fullmatch(text) is not None


def is_name(text: str, most: int = 253) -> bool:
    """Labels of DNS, joined by dots."""
    return len(text) <= most and all(is_label(part) for part in text.split("."))


def is_label_value(text: str) -> bool:
    """The value of a label or taint of Kubernetes; it may be empty."""
    return len(text) <= 63 and _WORD.fullmatch(text) is not None


def is_label_key(text: str) -> bool:
    """The key of a label or taint of Kubernetes."""
    prefix, slash, name = text.rpartition("/")
    return bool(name) and is_label_value(name) and (is_name(prefix) if slash else True)


def is_host(text: str) -> bool:
    """A DNS name or an IPv4 address; digits and dots that are no address are neither."""
    if re.fullmatch(r"[0-9.]+", text):
        try:
            return bool(ipaddress.IPv4Address(text))
        except ValueError:
            return False
    return is_name(text) and not text.rpartition(".")[2].isdigit()


def is_text(text: str) -> bool:
    """A word that no reader of YAML takes for a number, a date, a truth or nothing: what a chart
    writes without quotes has to stay a text."""
    if text in ("y", "n"):  # of YAML 1.1, which Helm reads
        return False
    try:
        float(text)
    except ValueError:
        try:
            return isinstance(yaml.safe_load(text), str)
        except yaml.YAMLError:
            return False
    return False
