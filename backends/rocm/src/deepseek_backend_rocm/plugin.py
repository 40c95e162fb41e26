"""The hooks, a few lines each. Heavy modules are imported where they are used: discovery must be quick."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from deepseek_backend_rocm import __version__
from deepseek_backend_rocm.capabilities import capabilities
from deepseek_backend_rocm.targets import TARGETS
from deepseek_core import Availability, BackendInfo, Capabilities, Target, hookimpl

if TYPE_CHECKING:
    from deepseek_core import (
        Artifact,
        Claim,
        CompileOptions,
        Executable,
        Expectations,
        KernelCandidate,
        QuantizedModel,
        Unit,
    )

__all__: list[str] = []


@hookimpl
def deepseek_backend() -> BackendInfo:
    summary = (
        "AMD GPUs: Triton kernels as code objects, chosen by their machine code and emulated instruction by instruction"
    )
    return BackendInfo("rocm", (1, 0), TARGETS, summary, __version__)


@hookimpl
def deepseek_capabilities(target: Target) -> Capabilities:
    return capabilities(target)


@hookimpl
def deepseek_probe(target: Target) -> Availability:
    from deepseek_backend_rocm.probe import probe

    return probe(target)


@hookimpl
def deepseek_claim(model: QuantizedModel, target: Target, refuse: Callable[[Unit, str], None]) -> Sequence[Claim]:
    from deepseek_backend_rocm.claims import claim

    return claim(model, target, refuse)


@hookimpl
def deepseek_kernels(unit: Unit, target: Target) -> Sequence[KernelCandidate]:
    from deepseek_backend_rocm.offers import candidates

    return candidates(unit, target)


@hookimpl
def deepseek_compile(model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
    from deepseek_backend_rocm.compiler import compile_model

    return compile_model(model, target, options)


@hookimpl
def deepseek_cross_compile(
    model: QuantizedModel, target: Target, format: str, options: CompileOptions
) -> Artifact | None:
    from deepseek_backend_rocm.image.bundle import cross_compile

    return cross_compile(model, target, format, options)


@hookimpl
def deepseek_load(artifact: Artifact, device: str | None) -> Executable:
    from deepseek_backend_rocm.runtime import open_artifact

    return open_artifact(artifact, device)


@hookimpl
def deepseek_expectations(target: Target) -> Expectations:
    from deepseek_backend_rocm.expectations import expectations

    return expectations(target)
