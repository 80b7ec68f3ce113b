"""The error types that the command line shows as a single sentence instead of a traceback."""

__all__ = ["MERError", "TrainingError"]


class MERError(ValueError):
    """Something the user can mend: a file, an option, a combination. The message names the thing and the remedy.

    Example:
        >>> raise MERError("rate is 2.0, but must lie in [0, 1]; pass a smaller rate")
        Traceback (most recent call last):
        mer_zoo.errors.MERError: rate is 2.0, but must lie in [0, 1]; pass a smaller rate
    """


class TrainingError(MERError):
    """What ends a run that began well, such as a full disk; the exit code is then 1, where a refusal's is 2.

    Example:
        >>> raise TrainingError("the disk is full; make room")
        Traceback (most recent call last):
        mer_zoo.errors.TrainingError: the disk is full; make room
    """
