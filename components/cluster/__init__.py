"""Room: the Kubernetes cluster and its given namespace."""
