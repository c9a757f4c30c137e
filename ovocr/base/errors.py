"""Errors for users: each message is one line that names the file, key or option and says what to do."""

from pathlib import Path


class OvocrError(Exception):
    """An error that the user can fix. The command line prints the message as one line and exits with ``exit_code``."""

    exit_code = 1

    def rename(self, old: str, new: str) -> None:
        """Replaces ``old``, the name of a file or folder, in the message and in the attributes that are names."""
        self.args = tuple(arg.replace(old, new) if isinstance(arg, str) else arg for arg in self.args)
        for name, value in vars(self).items():
            if isinstance(value, str | Path):
                setattr(self, name, str(value).replace(old, new))


class StoreError(OvocrError):
    """An object store fails or refuses access. Says nothing about the content of the files."""


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
