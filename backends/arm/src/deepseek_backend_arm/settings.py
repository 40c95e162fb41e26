"""What a user may choose about a compilation: `--set arm.NAME=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek_backend_arm.selection import NAMES
from deepseek_core import CompileOptions
from deepseek_core.errors import ConfigError

__all__ = ["AUTO", "EXACT", "FAST", "KERNELS", "MOST_THREADS", "Settings"]

AUTO = "auto"
KERNELS = (AUTO, *NAMES)
EXACT, FAST = "exact", "fast"
MOST_THREADS = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """Choices for one compilation.

    Attributes:
        threads: how many share the work of a step.
        kernels: name of a matrix kernel that is taken wherever it exists, or `auto`: the fastest for each unit.
        half: how products of float16 are summed: `exact`, in float32; `fast`, sixteen at a time in float16 where
            the CPU computes with it.
    """

    threads: int = 1
    kernels: str = AUTO
    half: str = EXACT

    @classmethod
    def read(cls, options: CompileOptions) -> Settings:
        """Settings from the options.

        Raises:
            ConfigError: an unknown name, or a value out of range.
        """
        for name in options.extra:
            if name not in ("kernels", "half"):
                raise ConfigError(f"the arm backend has no option '{name}'", fix="it has: kernels, half")
        kernels = options.extra.get("kernels", AUTO)
        if kernels not in KERNELS:
            raise ConfigError(f"arm.kernels={kernels}", fix=f"choose one of {', '.join(KERNELS)}")
        half = options.extra.get("half", EXACT)
        if half not in (EXACT, FAST):
            raise ConfigError(f"arm.half={half}", fix=f"choose {EXACT} or {FAST}")
        if not 0 <= options.threads <= MOST_THREADS:
            raise ConfigError(f"{options.threads} threads", fix=f"give 1 to {MOST_THREADS}")
        return cls(options.threads or 1, kernels, half)
