"""Faults as data, planted, proved, undone on the target; what the platform promised meanwhile."""
