"""What a job makes at an S3 store that the client runs; runs in the image `clients`."""
