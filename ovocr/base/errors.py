"""Errors that are part of the interface: one line that names the file, key or option and the mend."""


class OvocrError(Exception):
    """Something a user can mend. The command line prints its message as one line and exits with ``exit_code``."""

    exit_code = 1


class UsageError(OvocrError):
    """A wrong option, configuration key or argument: exit code 2."""

    exit_code = 2


class MissingExtraError(UsageError):
    """A feature was asked for whose optional packages are not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs packages that are not installed: pip install 'ovocr[{extra}]'")
        self._arguments = feature, extra

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str]]:
        """As it was made, so that it can come from another process."""
        return type(self), self._arguments
