"""Options of compilation, the same for every backend."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from deepseek_core.errors import ConfigError

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
        extra: what single backends offer beyond this, by `backend.name`, for example `cpu.kernels`. A backend is
            given its own under their bare names, and refuses a name it does not know.
        progress: told about long work.
    """

    optimize: int = 1
    threads: int = 0
    taps: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)
    progress: Progress = _silent

    def for_backend(self, backend: str) -> CompileOptions:
        """The options as one backend gets them: of `extra` its own, without its name in front."""
        front = f"{backend}."
        own = {key.removeprefix(front): value for key, value in self.extra.items() if key.startswith(front)}
        return replace(self, extra=own)

    def refuse_strangers(self, backends: Collection[str]) -> None:
        """Check that every key of `extra` names one of the backends.

        Raises:
            ConfigError: one does not; nobody would read it.
        """
        for key in self.extra:
            if key.partition(".")[0] not in backends or "." not in key:
                raise ConfigError(
                    f"option '{key}' is for none of the chosen backends ({', '.join(backends)})",
                    fix=f"write it as backend.name, for example {next(iter(backends), 'cpu')}.{key.rpartition('.')[2]}",
                )
