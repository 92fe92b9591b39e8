"""The engine of smoke, audit and the live proof of availability.

It reads the platform contract, discovers what the rooms under components/ offer (probe.py),
and proves each component from a client's point of view. It never imports Pulumi or stacks/.
"""
