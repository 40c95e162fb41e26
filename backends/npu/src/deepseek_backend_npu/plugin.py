"""The hooks, a few lines each. Heavy modules are imported where they are used: discovery must be quick."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from deepseek_backend_npu import __version__
from deepseek_backend_npu.capabilities import TARGETS, capabilities
from deepseek_backend_npu.hexagon import VARIANTS, is_hexagon
from deepseek_core import Availability, BackendInfo, Capabilities, Target, hookimpl

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
    summary = "Arm Ethos-U, compiled by Vela and emulated; Qualcomm Hexagon, prepared and simulated by QNN"
    targets = (*TARGETS, *(Target("npu", name) for name in VARIANTS))
    return BackendInfo("npu", (1, 0), targets, summary, __version__)


@hookimpl
def deepseek_capabilities(target: Target) -> Capabilities:
    if is_hexagon(target):
        from deepseek_backend_npu.hexagon.capabilities import capabilities as hexagon_capabilities

        return hexagon_capabilities(target)
    return capabilities(target)


@hookimpl
def deepseek_probe(target: Target) -> Availability:
    if is_hexagon(target):
        from deepseek_backend_npu.hexagon.probe import probe_hexagon

        return probe_hexagon(target)
    from deepseek_backend_npu.probe import probe

    return probe(target)


@hookimpl
def deepseek_claim(model: QuantizedModel, target: Target, refuse: Callable[[Unit, str], None]) -> Sequence[Claim]:
    if is_hexagon(target):
        from deepseek_backend_npu.hexagon.claims import claim_hexagon

        return claim_hexagon(model, target, refuse)
    from deepseek_backend_npu.claims import claim

    return claim(model, target, refuse)


@hookimpl
def deepseek_cost(units: Sequence[Unit], target: Target) -> Cost | None:
    if is_hexagon(target):
        return None  # the core's roofline over the table; QNN's simulation has no cost to tell

    from deepseek_backend_npu.cost import part_cost

    return part_cost(units, target)


@hookimpl
def deepseek_kernels(unit: Unit, target: Target) -> Sequence[KernelCandidate]:
    if is_hexagon(target):
        return ()

    from deepseek_backend_npu.kernels import candidates

    return candidates(unit, target)


@hookimpl
def deepseek_compile(model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
    if is_hexagon(target):
        from deepseek_backend_npu.hexagon.compiler import compile_hexagon

        return compile_hexagon(model, target, options)
    from deepseek_backend_npu.compiler import compile_model

    return compile_model(model, target, options)


@hookimpl
def deepseek_cross_compile(
    model: QuantizedModel,
    target: Target,
    format: str,
    options: CompileOptions,
) -> Artifact | None:
    if is_hexagon(target):
        from deepseek_backend_npu.hexagon.compiler import cross_compile_hexagon

        return cross_compile_hexagon(model, target, format, options)
    from deepseek_backend_npu.compiler import cross_compile

    return cross_compile(model, target, format, options)


@hookimpl
def deepseek_load(artifact: Artifact, device: str | None) -> Executable:
    if is_hexagon(artifact.target):
        from deepseek_backend_npu.hexagon.runtime import open_hexagon

        return open_hexagon(artifact, device)

    from deepseek_backend_npu.runtime import open_artifact

    return open_artifact(artifact, device)


@hookimpl
def deepseek_expectations(target: Target) -> Expectations:
    if is_hexagon(target):
        from deepseek_backend_npu.hexagon.expectations import hexagon_expectations

        return hexagon_expectations(target)
    from deepseek_backend_npu.expectations import expectations

    return expectations(target)
