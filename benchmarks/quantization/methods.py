"""The quantizers that are compared: ours and each peer's, with the settings its documentation recommends."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import deepseek_core
from quantization import environments
from quantization.cache import code, digest

__all__ = ["METHODS", "Method"]

_PEERS = Path(__file__).with_name("peers")


@dataclass(frozen=True, slots=True)
class Method:
    """A quantizer with its settings.

    Attributes:
        name: unique; `peer/setting`.
        precision: `W8A8`, `W8A8 dynamic` (ranges found in every run), `W4A8` or `W4A16`: what it competes in.
        environment: where its script runs; None for ours.
        arguments: of the script, before model, samples and output.
        default: whether it runs without being named.
    """

    name: str
    precision: str
    environment: str | None
    arguments: tuple[str, ...]
    default: bool = True

    @property
    def ours(self) -> bool:
        return self.environment is None

    def key(self) -> str:
        """Digest of what decides the result, beside the network: versions, script and settings."""
        if self.environment is None:
            return digest([], code(_our_code()), *self.arguments)
        scripts = [_PEERS / "peer.py", _PEERS / f"{self.environment}_peer.py"]
        return digest([], code(scripts), environments.pins(self.environment), *self.arguments)

    def command(self, model: Path, samples: Path, output: Path) -> list[str]:
        """What to run; the environment is made where it is missing."""
        if self.environment is None:
            head = [sys.executable, str(_PEERS / "deepseek_job.py")]
            return [*head, *self.arguments, str(model), str(samples), str(output)]
        head = [str(environments.python(self.environment)), str(_PEERS / f"{self.environment}_peer.py")]
        return [*head, *self.arguments, str(model), str(samples), str(output)]


def _our_code() -> list[Path]:
    """Every source file that a quantization may pass through."""
    core = Path(deepseek_core.__file__).parent
    folders = [core, core.parent / "toolkit" / "src", core.parent / "backends" / "cpu" / "src"]
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def _peer(environment: str, precision: str, names: Sequence[str]) -> list[Method]:
    return [Method(f"{environment}/{name}", precision, environment, (name,)) for name in names]


def _calibrators() -> list[Method]:
    names = ("entropy", "minmax", "mse", "percentile")
    return [Method(f"deepseek/{name}", "W8A8", None, ("--method", name), default=False) for name in names]


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("deepseek/int8", "W8A8", None, ("--precision", "int8")),
        Method("deepseek/int8-quick", "W8A8", None, ("--precision", "int8", "--effort", "quick")),
        Method("deepseek/int8-plain", "W8A8", None, ("--precision", "int8", "--recipe", "plain")),
        Method("deepseek/w4a8", "W4A8", None, ("--precision", "w4a8")),
        Method("deepseek/int4", "W4A16", None, ("--precision", "int4")),
        *_calibrators(),
        *_peer("onnxruntime", "W8A8", ("minmax", "percentile", "entropy")),
        *_peer("onnxruntime", "W8A8 dynamic", ("dynamic",)),
        *_peer("modelopt", "W8A8", ("int8-max", "int8-entropy")),
        *_peer("quark", "W8A8", ("s8s8", "s8s8-adaround")),
        *_peer("nncf", "W8A8", ("int8", "int8-accurate")),
        *_peer("aimet", "W8A8", ("int8", "int8-adaround")),
        *_peer("aimet", "W4A8", ("w4a8-seq-mse", "w4a8-adaround")),
        *_peer("onnxruntime", "W4A16", ("int4-rtn", "int4-hqq", "int4-gptq", "int4-kquant")),
        *_peer("modelopt", "W4A16", ("int4-awq-lite", "int4-awq-clip")),
        *_peer("quark", "W4A16", ("int4-gptq",)),
        *_peer("nncf", "W4A16", ("int4",)),
    )
}
