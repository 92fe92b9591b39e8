"""A small platform of real processes, with switchable defects: the score of the validator."""
