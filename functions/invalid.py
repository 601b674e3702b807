"""The error of a configuration that cannot be used, apart from `config` so that what it is made of can raise it too."""


class InvalidConfig(ValueError):
    """A required variable is unset or empty, or a set one has a value that cannot be used; the message names it."""
