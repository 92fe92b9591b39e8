"""What Apadana adds to Feast: definitions as plain files, the online store, checks, the server."""
