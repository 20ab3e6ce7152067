"""What a command reports to its user, as one line and exit code 2."""


class CommandError(Exception):
    """Bad input, or a file that cannot be read or written."""


class Stopped(Exception):
    """A signal has ended the command, which has saved what there was. Without a message another rank says it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def reason(error: BaseException) -> str:
    """The shortest true sentence about `error`, on one line."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())
