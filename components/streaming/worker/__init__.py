"""The program of the pods: reads records from Kafka, judges them, keeps them in both stores."""
