"""Boosted trees whose rows lie at several workers."""
