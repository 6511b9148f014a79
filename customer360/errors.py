"""The base of every error that an operator can mend."""


class OperatorError(Exception):
    """Wrong input, settings or state. The message names what is wrong and the remedy; commands show it without a traceback."""
