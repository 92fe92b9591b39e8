"""`python -m stacks.job <site> <name> <file>... [-- words]`: a job of Spark as YAML, for `kubectl create`.

The first file is the program, the others lie beside it; the words are what it is started with. It asks no cluster.
"""

from __future__ import annotations

import sys

from components.spark import job, settings
from stacks.programs import Command

COMMAND = Command(
    __doc__ or "",
    settings.ROOM,
    settings.Settings,
    job.Job,
    settings.house,
    job.objects,
    "executors",
    "pods beside the driver; left out: spark.executors",
)

if __name__ == "__main__":
    sys.exit(COMMAND.main())
