"""What a user may choose about a compilation: `--set arm.NAME=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek_core import CompileOptions
from deepseek_core.errors import ConfigError

__all__ = ["AUTO", "MOST_THREADS", "SUMS", "Settings"]

AUTO = "auto"
SUMS = (AUTO, "pairs", "fours")
MOST_THREADS = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """Choices for one compilation.

    Attributes:
        threads: how many share the work of a step.
        sums: how CPUs without sdot add products of codes: `pairs` or `fours` in int16, or `auto`, by the weights.
    """

    threads: int = 1
    sums: str = AUTO

    @classmethod
    def read(cls, options: CompileOptions) -> Settings:
        """Settings from the options.

        Raises:
            ConfigError: an unknown name, or a value out of range.
        """
        for name in options.extra:
            if name != "sums":
                raise ConfigError(f"the arm backend has no option '{name}'", fix="it has: sums")
        sums = options.extra.get("sums", AUTO)
        if sums not in SUMS:
            raise ConfigError(f"arm.sums={sums}", fix=f"choose one of {', '.join(SUMS)}")
        if not 0 <= options.threads <= MOST_THREADS:
            raise ConfigError(f"{options.threads} threads", fix=f"give 1 to {MOST_THREADS}")
        return cls(options.threads or 1, sums)
