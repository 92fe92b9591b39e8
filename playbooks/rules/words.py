"""Names, labels, taints and other words of an inventory, by the rules of who reads them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from components.kit.names import MOST_OF_DOMAIN, is_host, is_label, is_label_key, is_label_value, is_name, is_text
from playbooks.rules.telling import wrong

Hosts = Mapping[str, Mapping[str, Any]]
OF_NAME = "lower-case letters, digits and hyphens, in parts joined by dots"
#: The kubelet ends at once with any other label of these two domains (--node-labels).
THEIRS = ("kubernetes.io", "k8s.io")
FREE_OF_THEM = ("kubelet.kubernetes.io", "node.kubernetes.io")
ALLOWED_OF_THEM = {
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
}
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_TAINT = re.compile(r"(?P<key>[^=:]+)=(?P<value>[^=:]*):(?P<effect>.*)")
_PATH = re.compile(r"(/[A-Za-z0-9_.@+-]+)+")


def _is_site(text: str) -> bool:
    return is_label(text) and len(text) <= 40 and text[0].isalpha() and is_text(text)


def _is_dns_name(text: str) -> bool:
    """Put into certificates and into /etc/hosts, so no address, which needs neither."""
    return is_host(text) and not re.fullmatch(r"[0-9.]+", text) and text != "localhost"


def _is_domain(text: str) -> bool:
    return is_name(text, MOST_OF_DOMAIN)


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda text: re.fullmatch(pattern, text) is not None


def _is_router(text: str) -> bool:
    return text.isdecimal() and 1 <= int(text) <= 255


def _is_issuer(text: str) -> bool:
    """As tokens name it, letter by letter: so no query, and no slash at its end."""
    return not text or re.fullmatch(r"https://[a-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*", text) is not None


#: By setting: who fits, and what is allowed in words. One that is not set keeps its default.
WORDS: dict[str, tuple[Callable[[str], bool], str]] = {
    "site_name": (_is_site, "a letter, then lower-case letters, digits and hyphens, at most 40"),
    "site_api_name": (_is_dns_name, f"a DNS name: {OF_NAME}"),
    "site_registry_name": (_is_dns_name, f"a DNS name: {OF_NAME}"),
    "site_cluster_domain": (_is_domain, f"{OF_NAME}, at most {MOST_OF_DOMAIN} long"),
    "site_web_domain": (_is_domain, f"{OF_NAME}, at most {MOST_OF_DOMAIN} long"),
    "site_issuer": (_is_issuer, "https://host[:port][/path] as the issuer's tokens say it, or nothing"),
    "site_issuer_ca": (_matches(_PATH.pattern), "a whole path of letters, digits and _ . @ + -"),
    "site_issuer_roles_claim": (_matches(r"[A-Za-z0-9_-]{1,63}"), "a claim at the top of the token"),
    "site_state": (_matches(_PATH.pattern), "a whole path of letters, digits and _ . @ + -"),
    "site_bundle": (_matches(_PATH.pattern), "a whole path of letters, digits and _ . @ + -"),
    "loadbalancer_interface": (_matches(r"[^\s/:]{1,15}"), "the name of a network interface"),
    "loadbalancer_router_id": (_is_router, "a number from 1 to 255"),
    "kubernetes_node_monitor_grace": (_matches(r"([0-9]+(ms|s|m|h))+"), "a duration, as 20s"),
    "kubernetes_control_plane_cpu": (_matches(r"[1-9][0-9]*m?|0?\.[0-9]+|[0-9]+\.[0-9]+"), "processors, as 500m or 2"),
    "base_journal_max": (_matches(r"[1-9][0-9]*[KMGT]?"), "a size, as 500M"),
}


def word_faults(site: Mapping[str, Any]) -> list[str]:
    given = {name: site[name] for name in WORDS if site.get(name) is not None}
    found = [
        wrong(name, value, WORDS[name][1], "correct it")
        for name, value in given.items()
        if isinstance(value, bool) or not WORDS[name][0](str(value))
    ]
    web, cluster = f".{site['site_web_domain']}", f".{site['site_cluster_domain']}"
    if web.endswith(cluster) or cluster.endswith(web):
        allowed = f"no name that holds site_cluster_domain ({cluster[1:]}) or lies in it"
        action = "choose another one: the cluster's own DNS would answer for the pages"
        found.append(wrong("site_web_domain", web[1:], allowed, action))
    return found


def host_name_faults(hosts: Hosts, site: Mapping[str, Any]) -> list[str]:
    """A node is called as its host is, and the name is the value of a label, too."""
    ours = {str(site["site_api_name"]), str(site["site_registry_name"]), "localhost"}
    found = [
        f"host {name!r}: a node is called so; allowed: {OF_NAME}, at most 63 long; rename it in hosts.yml"
        for name in hosts
        if not is_name(name, 63)
    ]
    found += [
        f"host {name!r}: every host has this name for itself in /etc/hosts; rename it in hosts.yml,"
        " or change site_api_name or site_registry_name"
        for name in hosts
        if name in ours
    ]
    return found


def node_faults(hosts: Hosts) -> list[str]:
    found = []
    for name, host in hosts.items():
        labels = host.get("node_labels") or {}
        if not isinstance(labels, Mapping):
            found.append(wrong(f"{name}: node_labels", labels, "a mapping", "write key: value"))
        else:
            found += [fault for pair in labels.items() for fault in label_faults(name, *pair)]
        taints = host.get("node_taints") or []
        if not isinstance(taints, list):
            found.append(wrong(f"{name}: node_taints", taints, "a list", "write `- k=v:Effect`"))
        else:
            found += taint_faults(name, taints)
    return found


def label_faults(host: str, key: Any, value: Any) -> list[str]:
    subject, found = f"{host}: node_labels", []
    if not is_label_key(str(key)):
        allowed = "letters, digits and - _ . up to 63, a DNS name and a slash before them or not"
        found.append(wrong(f"{subject}: a key", key, allowed, "correct it"))
    elif not may_label(str(key)):
        allowed = f"none of {' and '.join(THEIRS)} that the kubelet may not give itself"
        action = "take a domain of your own, as apadana.io"
        found.append(wrong(f"{subject}: a key", key, allowed, action))
    if isinstance(value, bool | float | dict | list) or value is None:
        action = "quote it"
        found.append(wrong(f"{subject}: {key}", value, "a text", action))
    elif not is_label_value(str(value)):
        allowed = "letters, digits and - _ . up to 63, a letter or digit first and last"
        found.append(wrong(f"{subject}: {key}", value, allowed, "correct it"))
    return found


def may_label(key: str) -> bool:
    """By the kubelet's own list (IsKubeletLabel of Kubernetes)."""
    domain = key.rpartition("/")[0]
    if not any(f".{domain}".endswith(f".{theirs}") for theirs in THEIRS):
        return True
    return key in ALLOWED_OF_THEM or any(f".{domain}".endswith(f".{ok}") for ok in FREE_OF_THEM)


def taint_faults(host: str, taints: list[Any]) -> list[str]:
    found, seen = [], Counter[tuple[str, str]]()
    for text in taints:
        parts = _TAINT.fullmatch(str(text))
        if parts is None or parts["effect"] not in EFFECTS:
            allowed = f"key=value:Effect, the effect one of {', '.join(EFFECTS)}"
            found.append(wrong(f"{host}: node_taints (one of it)", text, allowed, "correct it"))
            continue
        if not is_label_key(parts["key"]) or not is_label_value(parts["value"]):
            allowed = "a key and a value as of labels: letters, digits and - _ ."
            found.append(wrong(f"{host}: node_taints (one of it)", text, allowed, "correct it"))
        seen[parts["key"], parts["effect"]] += 1
    found += [
        f"{host}: node_taints has {count} of the key {key} and the effect {effect}; a node has one"
        " of each: remove the others"
        for (key, effect), count in seen.items()
        if count > 1
    ]
    return found
