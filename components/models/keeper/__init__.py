"""Keeps what releases wish for. Runs in the clients' image: the standard library and minio alone."""
