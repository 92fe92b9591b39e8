"""The story on the rooms: what is sent, and what a client of each room asks, in a pod."""
