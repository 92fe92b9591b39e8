"""What a job makes at a PostgreSQL that the client runs; runs in the image `clients`."""
