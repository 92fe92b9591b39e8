"""Machines: which one is worn. Its records come by the stream and are taken from the feature store; see README.md."""
