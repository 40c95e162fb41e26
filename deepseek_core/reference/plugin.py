"""The reference backend's hooks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING

from deepseek_core import __version__
from deepseek_core.hookspecs import BackendInfo, hookimpl
from deepseek_core.reference import capabilities as table
from deepseek_core.target import Availability, Capabilities, Target, Tier

if TYPE_CHECKING:
    from deepseek_core.artifact import Artifact
    from deepseek_core.executable import Executable
    from deepseek_core.ir import QuantizedModel, Unit
    from deepseek_core.options import CompileOptions
    from deepseek_core.placement import Claim

__all__: list[str] = []


@hookimpl
def deepseek_backend() -> BackendInfo:
    return BackendInfo("reference", (1, 0), (table.TARGET,), "NumPy: the definition of the IR's numerics", __version__)


@hookimpl
def deepseek_capabilities(target: Target) -> Capabilities:
    return table.capabilities(target)


@hookimpl
def deepseek_probe(target: Target) -> Availability:
    toolchain = {name: version(name) for name in ("numpy", "onnx")}
    return Availability(
        can_compile=True,
        can_run=True,
        detail=f"NumPy {toolchain['numpy']}, onnx.reference {toolchain['onnx']}",
        toolchain=toolchain,
        tier=Tier.REFERENCE,
        devices=(table.TARGET.device,),
    )


@hookimpl
def deepseek_claim(model: QuantizedModel, target: Target, refuse: Callable[[Unit, str], None]) -> Sequence[Claim]:
    from deepseek_core.reference.claims import claim

    return claim(model, target, refuse)


@hookimpl
def deepseek_compile(model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
    from deepseek_core.reference.executable import compile_model

    return compile_model(model, target, options)


@hookimpl
def deepseek_load(artifact: Artifact, device: str | None) -> Executable:
    from deepseek_core.reference.executable import load_artifact

    return load_artifact(artifact, device)
