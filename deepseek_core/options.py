"""Options of compilation, the same for every backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["CompileOptions", "Progress"]

Progress = Callable[[str, float], None]
"""`progress(what, fraction)`: called while long work advances, fraction in [0, 1]."""


def _silent(what: str, fraction: float) -> None:
    return


@dataclass(frozen=True, slots=True)
class CompileOptions:
    """What a user may ask of a compilation.

    Attributes:
        optimize: 0 = straight from the model, no search; 1 = choose kernels by measurement or estimate.
        threads: threads the executable uses; 0 = the runtime's own choice.
        taps: names of float values to return as further outputs (calibration, `deepseek diff`).
        extra: backend options by name; a backend refuses a name it does not know.
        progress: told about long work.
    """

    optimize: int = 1
    threads: int = 0
    taps: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    progress: Progress = _silent
