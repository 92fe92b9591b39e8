"""What a job makes at a Valkey or Redis that the client runs; runs in the image `clients`."""
