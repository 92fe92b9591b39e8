"""Tickets of a hospital: which one can't wait. Texts, one answer of two; see README.md."""
