"""The open-loop generator, its certificate and its records: what runs where the clients are."""
