"""Streams of features: from Kafka into both stores, effectively once."""
