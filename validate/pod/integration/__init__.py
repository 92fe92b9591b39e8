"""What runs in pods: the standard library, the stores' clients, scikit-learn in one file."""
