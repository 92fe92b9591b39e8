"""The front of an engine that has no log-in of its own: who may call it. Pure; the HAProxy that
does it stands in kit/chart/templates/_front.tpl."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from components.kit.settings import Frozen, ResourceValues

USERS_FILE = "users.cfg"
READERS = "readers"  # the group, in the template, too


class FrontValues(Frozen):
    """`front:` of a chart with such an engine."""

    callers: tuple[str, ...]  # names of certificates that are let in
    resources: ResourceValues


def users_file(passwords: Mapping[str, str], readers: Sequence[str] = ()) -> str:
    """The list of users as HAProxy reads it, for the auth Secret. `readers`: those who may ask for `reads` alone.

    Plain: a hash would have to be slow to be worth anything, and it is computed for each request.
    The derived passwords are long hexadecimal or base64 words, without spaces and quotes.
    """
    lines = ["userlist callers", *([f"  group {READERS} users {','.join(readers)}"] if readers else [])]
    for user, password in sorted(passwords.items()):
        if not password or any(sign.isspace() or sign in "\"'\\#$" for sign in password):
            raise ValueError(f"the password of {user} holds what HAProxy would read otherwise")
        lines.append(f"  user {user} insecure-password {password}")
    return "\n".join(lines) + "\n"
