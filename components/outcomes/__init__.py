"""What became of predictions: they are kept, joined with what turned out to be true, and told of."""
