"""Errors for users: each message is one line that names the file, key or option and says what to do."""


class OvocrError(Exception):
    """An error that the user can fix. The command line prints the message as one line and exits with ``exit_code``."""

    exit_code = 1


class UsageError(OvocrError):
    """A wrong option, configuration key or argument: exit code 2."""

    exit_code = 2


class MissingExtraError(UsageError):
    """A feature needs optional packages that are not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs packages that are not installed; {how_to_install(extra)}")
        self._arguments = feature, extra

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str]]:
        """Pickles the constructor's arguments, so the error can be raised in another process."""
        return type(self), self._arguments


def how_to_install(extra: str) -> str:
    """Returns the advice to install an extra of ovocr. No package registry has ovocr, only a checkout."""
    return f"install the extra \"{extra}\": pip install '.[{extra}]' in a checkout of ovocr"
