"""Feast: features with their history in PostgreSQL, and the newest of them in Valkey."""
