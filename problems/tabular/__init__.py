"""Diabetes: who gets worse fast. A table of numbers, one answer of two; see README.md."""
