"""The engine of smoke, audit, chaos, load, durability, integration and the report.

It reads the platform contract, discovers what the rooms under components/ offer (probe.py),
and proves each component from a client's point of view. It never imports Pulumi or stacks/.
Its own rooms: cli > report > campaign > suites > audit > ground > core > pod; each imports only
those after it (docs/architecture.md).
"""
