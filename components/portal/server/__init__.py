"""The program of the pods: it asks Prometheus, and shows what it is told."""
