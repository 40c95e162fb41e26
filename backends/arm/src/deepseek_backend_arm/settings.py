"""What a user may choose about a compilation: `--set arm.NAME=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek_core import CompileOptions
from deepseek_core.errors import ConfigError

__all__ = ["MOST_THREADS", "Settings"]

MOST_THREADS = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """Choices for one compilation.

    Attributes:
        threads: how many share the work of a step.
    """

    threads: int = 1

    @classmethod
    def read(cls, options: CompileOptions) -> Settings:
        """Settings from the options.

        Raises:
            ConfigError: an unknown name, or a value out of range.
        """
        for name in options.extra:
            raise ConfigError(f"the arm backend has no option '{name}'", fix="it has none; choose another target")
        if not 0 <= options.threads <= MOST_THREADS:
            raise ConfigError(f"{options.threads} threads", fix=f"give 1 to {MOST_THREADS}")
        return cls(options.threads or 1)
