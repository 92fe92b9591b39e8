"""What Kubernetes and our own files take as a name, a label, an address: types for every setting.

A room writes `secret_ref: ObjectName`, and a wrong value is told at preview with what is allowed
and what to do, instead of being refused by the API server in the middle of an installation. Free
text has no place in settings: each text has one of these types, `Name`, or a list of words; a test
asks every room for it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from components.kit.names import MOST_OF_DOMAIN, is_host, is_label, is_label_key, is_label_value, is_name, is_text

SET = "set an allowed value"
REFUSED = "apadana"  # the type of our own errors, as pydantic knows it
T = TypeVar("T", bound=Hashable)

_JAVA = re.compile(r"-[XD][A-Za-z0-9_.,:=+%/@-]*")
_HEAP = re.compile(r"-Xm[nsx]|-XX:(Min|Max|Initial)(Heap|RAM)|-XX:(New|MaxNew)Size")
_URL = re.compile(r"https?://(?P<host>[^/:]+)(:(?P<port>[0-9]{1,5}))?(/[A-Za-z0-9._~%+-]+)*/?")
_NUMBER = re.compile(r"[0-9]{1,5}")
#: Kubernetes' own, and `default`, which everyone may use: nothing of ours stands there.
_THEIRS = ("default", "kube-")


@dataclass(frozen=True)
class Wrong:
    """One thing that is wrong in a model; `key` from that model on, "" for a field's own value."""

    allowed: str
    key: str = ""
    seen: str | None = None
    action: str = SET


def refused(wrong: Iterable[Wrong]) -> PydanticCustomError:
    """What a validator raises: all that it found at once."""
    found = tuple(wrong)
    text = "; ".join(f"{each.key + ': ' if each.key else ''}{each.allowed}" for each in found)
    return PydanticCustomError(REFUSED, "{text}", {"text": text, "wrong": found})


def must(fits: Callable[[str], bool], allowed: str, action: str = SET) -> AfterValidator:
    """A text that `fits`."""

    def check(value: str) -> str:
        if not fits(value):
            raise refused([Wrong(allowed, action=action)])
        return value

    return AfterValidator(check)


def _is_cluster_domain(text: str) -> bool:
    return is_name(text, MOST_OF_DOMAIN)


def is_cidr(text: str) -> bool:
    """A network as address/bits."""
    try:
        return "/" in text and str(ipaddress.ip_network(text)) == text
    except ValueError:
        return False


def _is_address(text: str) -> bool:
    return is_host(text) and text.replace(".", "").isdigit()


def _is_url(text: str) -> bool:
    """Without a query, a fragment or a log-in: these have settings of their own."""
    found = _URL.fullmatch(text)
    if found is None or len(text) > 253 or not is_host(found["host"]):
        return False
    return found["port"] is None or 1 <= int(found["port"]) <= 65535


def _is_https(text: str) -> bool:
    return text.startswith("https:") and _is_url(text) and not text.endswith("/")


def _is_line(text: str) -> bool:
    return text.isprintable() and text == text.strip() and text != ""


def is_free(namespace: str) -> bool:
    """A namespace that is not Kubernetes' own."""
    return not (namespace == _THEIRS[0] or f"{namespace}-".startswith(_THEIRS[1]))


def _address(value: str) -> str:
    """`host:port`; what is wrong with it is told one by one, because it is written by hand."""
    host, colon, port = value.rpartition(":")
    form = "host:port, say db.client.example:5432"
    if "://" in value:
        wrong = Wrong(f"{form}: without a scheme", action=f"remove `{value.split('://')[0]}://`")
    elif any(not letter.isprintable() or letter.isspace() for letter in value):
        wrong = Wrong(f"{form}: no space in it", action="remove the space")
    elif "," in value:
        wrong = Wrong(form, action="write one list item for each address")
    elif "[" in value or value.count(":") > 1:
        # The contract, our probes and the network policies speak host:port with IPv4.
        wrong = Wrong(f"{form}: no IPv6 address", action="give a DNS name instead")
    elif not colon or not port:
        wrong = Wrong(f"{form}: a port is needed", action="write the port behind a colon")
    elif _NUMBER.fullmatch(port) is None or not 1 <= int(port) <= 65535 or port[0] == "0":
        wrong = Wrong(f"{form}: the port is a number from 1 to 65535", action="correct the port")
    elif not is_host(host):
        wrong = Wrong(f"{form}: the host is a DNS name in lower case or an IPv4 address", action="correct the host")
    else:
        return value
    raise refused([wrong])


def _once(values: tuple[T, ...]) -> tuple[T, ...]:
    twice = repeated(values)
    if twice:
        told = ", ".join(str(each) for each in twice)
        raise refused([Wrong("each only once", seen=told, action="remove what is there twice")])
    return values


def repeated(values: Iterable[T]) -> list[T]:
    """What is there more than once, in order."""
    seen: set[T] = set()
    twice: list[T] = []
    for value in values:
        if value in seen and value not in twice:
            twice.append(value)
        seen.add(value)
    return twice


def _is_java_option(text: str) -> bool:
    return _JAVA.fullmatch(text) is not None and _HEAP.match(text) is None


_OF_LABEL = "lower-case letters, digits and hyphens, at most 63, no hyphen first or last"
_OF_NAME = "a DNS name in lower case: parts of letters, digits and hyphens, joined by dots"
_PREFIX = "may have a DNS name and a slash before it"
_TEXT = must(is_text, "no number, date, true, yes, null: YAML would not read a text", "choose another name")
_OF_WORD = "at most 63 letters, digits, and between them also - _ ."

DnsLabel = Annotated[str, must(is_label, _OF_LABEL)]
DnsName = Annotated[str, must(is_name, f"{_OF_NAME}, at most 253 long")]
#: Of a Secret, a ConfigMap and most other objects.
ObjectName = Annotated[str, must(is_name, f"the name of an object: {_OF_NAME}"), _TEXT]
#: Also the value of the label kubernetes.io/hostname.
NodeName = Annotated[str, must(lambda text: is_name(text, 63), f"{_OF_NAME}, at most 63 long")]
Namespace = Annotated[
    str,
    must(is_label, _OF_LABEL),
    _TEXT,
    must(is_free, "a namespace of its own: not default, not kube-*", "choose another namespace"),
]
ClusterDomain = Annotated[str, must(_is_cluster_domain, f"{_OF_NAME}, at most 100 long")]
LabelKey = Annotated[str, must(is_label_key, f"{_OF_WORD}; {_PREFIX}")]
LabelValue = Annotated[str, must(is_label_value, f"nothing, or {_OF_WORD}")]
Host = Annotated[str, must(is_host, f"{_OF_NAME}, or an IPv4 address")]
HostPort = Annotated[str, AfterValidator(_address)]
Address = Annotated[str, must(_is_address, "an IPv4 address")]
_OF_URL = "host[:port][/path], without a log-in or a query"
Https = Annotated[str, must(_is_https, f"https://{_OF_URL}, no slash at its end")]
Url = Annotated[str, must(_is_url, f"http:// or https://{_OF_URL}")]
Port = Annotated[int, Field(ge=1, le=65535)]
Cidr = Annotated[str, must(is_cidr, "a network as address/bits, bits behind the mask zero, say 10.0.0.0/8")]
#: Goes into an environment variable that a shell splits; the heap has settings of its own.
JavaOption = Annotated[str, must(_is_java_option, "an option -X... or -D... without spaces, but none of the heap's")]
Line = Annotated[str, must(_is_line, "one line of text that can be printed")]
Once = AfterValidator(_once)
