"""The one error type that the command line shows as a single sentence instead of a traceback."""

__all__ = ["MERError"]


class MERError(ValueError):
    """Something the user can mend: a file, an option, a combination. The message names the thing and the remedy.

    Example:
        >>> raise MERError("rate is 2.0, but must lie in [0, 1]; pass a smaller rate")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: rate is 2.0, but must lie in [0, 1]; pass a smaller rate
    """
