"""Judges a version by what its pods count. Runs within the keeper: the standard library alone."""
