"""What can go wrong, so that a caller (and the command line's exit code) can tell whose turn it is."""

__all__ = ["DecoccError", "InputError", "ServiceError"]


class DecoccError(Exception):
    """Base of the errors this package raises on purpose; its message names the argument and says what to do."""


class InputError(DecoccError, ValueError):
    """The caller gave something that cannot be used: exit code 2 on the command line."""


class ServiceError(DecoccError, OSError):
    """A service, a program or a file failed: exit code 3 on the command line."""
