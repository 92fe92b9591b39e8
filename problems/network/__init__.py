"""A small network whose rows lie at several workers."""
