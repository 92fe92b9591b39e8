"""Room: groups of machines and what they must offer."""
