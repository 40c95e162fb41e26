"""The hooks, a few lines each. Heavy modules are imported where they are used: discovery must be quick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepseek_backend_echo import __version__
from deepseek_backend_echo.capabilities import DEVICE, TARGET, capabilities
from deepseek_core import (
    Availability,
    BackendInfo,
    Capabilities,
    Expectations,
    Rounding,
    Target,
    Tier,
    hookimpl,
)

if TYPE_CHECKING:
    from deepseek_core import Artifact, CompileOptions, Executable, QuantizedModel

__all__: list[str] = []


@hookimpl
def deepseek_backend() -> BackendInfo:
    return BackendInfo(
        name="echo",
        hook_api=(1, 0),
        targets=(TARGET,),
        summary="int8 device of the tutorial, simulated",
        version=__version__,
    )


@hookimpl
def deepseek_capabilities(target: Target) -> Capabilities:
    return capabilities(target)


@hookimpl
def deepseek_probe(target: Target) -> Availability:
    return Availability(
        can_compile=True,
        can_run=True,
        detail="simulator, part of the package",
        toolchain={"echo": __version__},
        tier=Tier.SIMULATED,
        devices=(DEVICE,),
    )


@hookimpl
def deepseek_compile(model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
    from deepseek_backend_echo.compiler import compile_artifact

    return compile_artifact(model, target, options)


@hookimpl
def deepseek_load(artifact: Artifact, device: str | None) -> Executable:
    from deepseek_backend_echo.runtime import open_artifact

    return open_artifact(artifact, device)


@hookimpl
def deepseek_expectations(target: Target) -> Expectations:
    """Ties round away from zero; apart from that, bit for bit what the IR defines."""
    return Expectations(rounding=Rounding.HALF_AWAY)
