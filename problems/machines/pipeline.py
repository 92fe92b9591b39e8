"""Which step follows which: as usual. Another order is a function of the same kind: `pipeline.step(NAME)` is one pod,
`a >> b`: b after a."""

from __future__ import annotations

from problems.pipeline import usual

template = usual
