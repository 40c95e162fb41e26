"""Every error a user can cause: one line that says what is wrong and what to do about it.

A `DeepseekError` is printed by the CLI as one line with exit code 2. Anything else is a bug and keeps
its traceback.
"""

from __future__ import annotations

__all__ = [
    "BackendError",
    "CalibrationError",
    "ConfigError",
    "DeepseekError",
    "FeedError",
    "GateError",
    "ModelError",
    "PackageError",
    "PlacementError",
    "StorageError",
    "TargetError",
]


class DeepseekError(Exception):
    """Base of all user-facing errors.

    Attributes:
        message: what is wrong, without a trailing full stop.
        fix: what the user can do about it, in the imperative.
    """

    exit_code = 2

    def __init__(self, message: str, *, fix: str) -> None:
        super().__init__(message, fix)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return " ".join(f"{self.message}; {self.fix}".split())

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.fix)


def _rebuild(cls: type[DeepseekError], message: str, fix: str) -> DeepseekError:
    return cls(message, fix=fix)


class ModelError(DeepseekError):
    """A model file that cannot be read, is invalid, or holds what the IR cannot express."""


class CalibrationError(DeepseekError):
    """Calibration data that is empty, of the wrong form, or not finite."""


class ConfigError(DeepseekError):
    """An option, recipe or setting with an unknown name or an impossible value."""


class TargetError(DeepseekError):
    """A target string that cannot be parsed, or that no installed backend serves."""


class BackendError(DeepseekError):
    """A backend that breaks the contract, is broken, or lacks something it needs here."""


class PlacementError(DeepseekError):
    """A unit that no chosen target accepts; the message carries every refusal."""


class GateError(PlacementError):
    """A placement that does not reach what was asked of it; the message has the reasons."""

    exit_code = 1


class PackageError(DeepseekError):
    """A `.ds` file that is corrupt, tampered with, too new, or built for something else."""


class FeedError(DeepseekError):
    """Inputs of `run` with a wrong name, shape or dtype."""


class StorageError(DeepseekError):
    """A file that cannot be written: no space, no folder, no permission."""
