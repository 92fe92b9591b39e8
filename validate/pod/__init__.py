"""What runs in the probe pod: standard library, probing.py and the rooms' probes only."""
