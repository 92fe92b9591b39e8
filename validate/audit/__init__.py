"""Acknowledged writes: their record in columns, what is lost or late, the run that makes it."""
