"""What a user may choose about a compilation: `--set arm.NAME=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek_backend_arm.selection import NAMES
from deepseek_core import CompileOptions
from deepseek_core.errors import ConfigError

__all__ = ["AUTO", "KERNELS", "MOST_THREADS", "Settings"]

AUTO = "auto"
KERNELS = (AUTO, *NAMES)
MOST_THREADS = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """Choices for one compilation.

    Attributes:
        threads: how many share the work of a step.
        kernels: name of a matrix kernel that is taken wherever it exists, or `auto`: the fastest for each unit.
    """

    threads: int = 1
    kernels: str = AUTO

    @classmethod
    def read(cls, options: CompileOptions) -> Settings:
        """Settings from the options.

        Raises:
            ConfigError: an unknown name, or a value out of range.
        """
        for name in options.extra:
            if name != "kernels":
                raise ConfigError(f"the arm backend has no option '{name}'", fix="it has: kernels")
        kernels = options.extra.get("kernels", AUTO)
        if kernels not in KERNELS:
            raise ConfigError(f"arm.kernels={kernels}", fix=f"choose one of {', '.join(KERNELS)}")
        if not 0 <= options.threads <= MOST_THREADS:
            raise ConfigError(f"{options.threads} threads", fix=f"give 1 to {MOST_THREADS}")
        return cls(options.threads or 1, kernels)
