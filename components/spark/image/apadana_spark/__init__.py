"""How the platform starts Spark: the history server, and the pods of a job."""
