"""Durability: what the loss of the page cache costs, proved on one local server of each store."""
