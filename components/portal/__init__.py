"""One page that shows all parts of the platform: where each is, whether it is well, what is told of it."""
