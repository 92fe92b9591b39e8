"""What runs where the clients run: standard library, kit's client side, the rooms' probes."""
