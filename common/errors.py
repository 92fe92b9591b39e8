"""The kind of error that is told to a person in words, without a traceback."""


class Refusal(Exception):
    """What was asked for can't be done; the text says why and what to do."""
