"""Load: an open-loop generator, verdicts by exact counting, and a certificate of the generator.

The modules that touch requests (arrivals, timing, ledger, answer, httptarget, operations,
generator) need the standard library only, so that they can run in the probe pod as well; there
`timing` falls back to asyncio's own loop.
"""
