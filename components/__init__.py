"""The rooms: one folder for each thing that is installed, plus kit (what they share)."""
