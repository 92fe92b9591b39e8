"""`python -m stacks.train <site> <name> <file>... [-- words]`: a training over several hosts, for `kubectl create`.

The first file is the program, the others lie beside it; the words are what it is started with. It asks no cluster.
"""

from __future__ import annotations

import sys

from components.training import job, settings
from stacks.programs import Command

COMMAND = Command(
    __doc__ or "",
    settings.ROOM,
    settings.Settings,
    job.Job,
    settings.house,
    job.objects,
    "workers",
    "pods, each on a host of its own where there are some",
    {"runtime": job.RUNTIMES},
)

if __name__ == "__main__":
    sys.exit(COMMAND.main())
