"""The hooks, a few lines each. Heavy modules are imported where they are used: discovery must be quick."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from deepseek_backend_cpu import __version__, host
from deepseek_backend_cpu.capabilities import TARGETS, capabilities
from deepseek_core import Availability, BackendInfo, Capabilities, Missing, Target, Tier, hookimpl

if TYPE_CHECKING:
    from deepseek_core import (
        Artifact,
        Claim,
        CompileOptions,
        Cost,
        Executable,
        Expectations,
        KernelCandidate,
        QuantizedModel,
        Unit,
    )

__all__: list[str] = []


@hookimpl
def deepseek_backend() -> BackendInfo:
    """This machine's own architecture is the default target."""
    targets = tuple(sorted(TARGETS, key=lambda target: target.device != host.architecture()))
    return BackendInfo(
        "cpu", (1, 0), targets, "int8 and float kernels of ONNX Runtime, chosen by measurement", __version__
    )


@hookimpl
def deepseek_capabilities(target: Target) -> Capabilities:
    return capabilities(target)


@hookimpl
def deepseek_probe(target: Target) -> Availability:
    """Compiling is a graph rewrite and needs no runtime; running needs ONNX Runtime and the right CPU."""
    version, missing = host.runtime_version(), []
    if version is None:
        missing.append(Missing("onnxruntime", "pip install onnxruntime"))
    if target.device != host.architecture():
        missing.append(Missing(f"a {target.device} CPU", f"run the package on a {target.device} machine"))
    lacking = sorted(set(target.features) - set(host.features()))
    if lacking and target.device == host.architecture():
        missing.append(Missing(f"CPU feature {', '.join(lacking)}", f"compile for {target.backend}:{target.device}"))
    can_run = not missing
    return Availability(
        can_compile=True,
        can_run=can_run,
        missing=tuple(missing),
        detail=f"{host.cpu_name()}, ONNX Runtime {version or 'not installed'}",
        features=host.features(),
        toolchain={} if version is None else {"onnxruntime": version},
        tier=Tier.DEVICE if can_run else None,
        devices=(host.cpu_name(),) if can_run else (),
    )


@hookimpl
def deepseek_claim(model: QuantizedModel, target: Target, refuse: Callable[[Unit, str], None]) -> Sequence[Claim]:
    from deepseek_backend_cpu.claims import claim

    return claim(model, target, refuse)


@hookimpl
def deepseek_cost(units: Sequence[Unit], target: Target) -> Cost:
    from deepseek_backend_cpu.cost import part_cost

    return part_cost(units, target)


@hookimpl
def deepseek_kernels(unit: Unit, target: Target) -> Sequence[KernelCandidate]:
    from deepseek_backend_cpu.kernels import candidates

    return candidates(unit, target)


@hookimpl
def deepseek_compile(model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
    from deepseek_backend_cpu.compiler import compile_model

    return compile_model(model, target, options)


@hookimpl
def deepseek_load(artifact: Artifact, device: str | None) -> Executable:
    from deepseek_backend_cpu.runtime import load

    return load(artifact, device)


@hookimpl
def deepseek_expectations(target: Target) -> Expectations:
    from deepseek_backend_cpu.expectations import expectations

    return expectations(target)
