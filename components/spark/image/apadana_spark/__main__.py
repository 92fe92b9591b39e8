"""`python3 -m apadana_spark history`, `python3 -m apadana_spark job [words of the program]`."""

from __future__ import annotations

import sys

from . import history, job


def main(words: list[str]) -> int:
    """Raises SystemExit for another word."""
    if words[:1] == ["history"]:
        history.run()
    if words[:1] == ["job"]:
        return job.run(words[1:])
    raise SystemExit(f"{words or 'nothing'}: say history, or job and the words of the program")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
