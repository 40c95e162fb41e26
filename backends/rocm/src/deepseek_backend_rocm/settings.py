"""What a user may choose about a compilation: `--set rocm.NAME=VALUE`."""

from __future__ import annotations

from dataclasses import dataclass

from deepseek_backend_rocm.targets import ARCHITECTURES, GPUS
from deepseek_core import CompileOptions, Target
from deepseek_core.errors import ConfigError

__all__ = ["Settings"]

_RUNTIMES = ("kernels", "migraphx")


@dataclass(frozen=True, slots=True)
class Settings:
    """Choices for one compilation.

    Attributes:
        architectures: that the artifact is built for; the target's own first.
        runtime: `kernels`, our own, or `migraphx`: the part as an ONNX model for ONNX Runtime's MIGraphX provider.
    """

    architectures: tuple[str, ...]
    runtime: str = "kernels"

    @classmethod
    def read(cls, target: Target, options: CompileOptions) -> Settings:
        """Settings from the options: `architectures` (others beside the target's own, joined by `+`) and `runtime`.

        Raises:
            ConfigError: an unknown name, or a value out of range.
        """
        for name in options.extra:
            if name not in ("architectures", "runtime"):
                raise ConfigError(f"the rocm backend has no option '{name}'", fix="it has: architectures, runtime")
        runtime = options.extra.get("runtime", "kernels")
        if runtime not in _RUNTIMES:
            raise ConfigError(f"rocm.runtime is '{runtime}'", fix=f"choose one of {', '.join(_RUNTIMES)}")
        others = [name for name in options.extra.get("architectures", "").split("+") if name]
        unknown = next((name for name in others if name not in ARCHITECTURES), None)
        if unknown is not None:
            raise ConfigError(f"rocm.architectures has '{unknown}'", fix=f"join some of {', '.join(GPUS)} by +")
        return cls(tuple(dict.fromkeys((target.device, *others))), runtime)
