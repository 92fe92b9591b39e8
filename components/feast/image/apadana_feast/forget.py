"""`python3 -m apadana_feast.forget`, in a server's own pod: asks that server to forget one entity, which is named in
JSON on the standard input, and prints what it says. It imports nothing of Feast: there is no memory for that twice.

Exit codes: 0 done, 2 the server said no, which may be a store that is away: its words are printed.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

PATH = "/-/forget"  # the front lets nobody in there
WAIT_SECONDS = 120.0


def main() -> int:
    """The exit code."""
    address = f"http://127.0.0.1:{os.environ['PORT']}{PATH}"
    request = urllib.request.Request(address, sys.stdin.buffer.read(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS) as answer:
            sys.stdout.write(answer.read().decode() + "\n")
            return 0
    except urllib.error.HTTPError as error:
        sys.stderr.write(error.read().decode(errors="replace") + "\n")
    except OSError as error:
        sys.stderr.write(f"{address}: {error}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
