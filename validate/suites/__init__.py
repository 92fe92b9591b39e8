"""The suites: each offers `steps(ground, chosen)`, which is all that a campaign asks of it."""
