"""What a job makes at a Kafka that the client runs; runs in the image `clients`."""
