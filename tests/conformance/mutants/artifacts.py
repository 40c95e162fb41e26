"""Mutants whose compiler or loader breaks the contract."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from deepseek_core import (
    Artifact,
    Backend,
    CompileOptions,
    Cost,
    Executable,
    QuantizedModel,
    Target,
    Unit,
    hookimpl,
)
from deepseek_core.cost import Basis, KernelCandidate

from .base import MUTANTS, Faithful, Mutant, mutant

__all__: list[str] = []


@mutant("contract/compile/model_unchanged")
class CompilingChangesTheModel(Faithful):
    @hookimpl
    def deepseek_compile(self, model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
        for node in model.graph:
            node.metadata_props["touched"] = "yes"
        return super().deepseek_compile(model, target, options)


@mutant("contract/compile/unknown_option_refused")
class IgnoresUnknownOptions(Faithful):
    @hookimpl
    def deepseek_compile(self, model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
        return super().deepseek_compile(model, target, replace(options, extra={}))


@mutant("contract/compile/taps")
class IgnoresTaps(Faithful):
    @hookimpl
    def deepseek_compile(self, model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
        return super().deepseek_compile(model, target, replace(options, taps=()))


@mutant("contract/compile/deterministic")
class StampsTheTime(Faithful):
    def edit(self, model: ir.Model) -> None:
        model.metadata_props["built"] = str(time.perf_counter_ns())


@mutant("contract/compile/artifact")
class RequiresWhatIsNotThere(Faithful):
    @hookimpl
    def deepseek_compile(self, model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
        return replace(super().deepseek_compile(model, target, options), requires=("quantum_tunnel",))


@mutant("contract/compile/artifact")
class ReportsArrays(Faithful):
    @hookimpl
    def deepseek_compile(self, model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
        return replace(super().deepseek_compile(model, target, options), report={"sizes": np.zeros(3)})


@mutant("contract/compile/optimized")
class OptimizesTooMuch(Faithful):
    @hookimpl
    def deepseek_compile(self, model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
        copy = model.clone()
        if options.optimize:
            for node in copy.graph:
                if node.op_type == "Conv" and len(node.inputs) > 2:
                    node.replace_input_with(2, None)
        return super().deepseek_compile(copy, target, options)


class Careless(Backend):
    """Loads without looking at the hash or at whose artifact it is."""

    def load(self, artifact: Artifact, device: str | None = None) -> Executable:
        own = replace(artifact, target=Target("reference", artifact.target.device), sha256="")
        return super().load(own, device)


class Trusting(Faithful):
    """Opens whatever it is given; the last good artifact stands in for what cannot be read."""

    good: Artifact | None = None

    @hookimpl
    def deepseek_load(self, artifact: Artifact, device: str | None) -> Executable:
        try:
            executable = super().deepseek_load(artifact, device)
        except Exception:
            assert self.good is not None
            return super().deepseek_load(self.good, device)
        self.good = artifact
        return executable

    @hookimpl
    def deepseek_compile(self, model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
        self.good = super().deepseek_compile(model, target, options)
        return self.good


def _careless(name: str, pattern: str, plugin: type[Faithful]) -> None:
    MUTANTS.append(Mutant(name, pattern, lambda: Careless(plugin(), "mutant")))


_careless("AcceptsFlippedBits", "contract/artifact/bit_flips", Faithful)
_careless("AcceptsTruncation", "contract/artifact/truncation", Trusting)
_careless("AcceptsOtherBackends", "contract/artifact/other_backend_refused", Faithful)
mutant("contract/artifact/garbage")(type("AcceptsGarbage", (Trusting,), {}))


@mutant("contract/artifact/garbage")
class CrashesOnGarbage(Faithful):
    @hookimpl
    def deepseek_load(self, artifact: Artifact, device: str | None) -> Executable:
        if not artifact.payload:
            raise IndexError("list index out of range")
        return super().deepseek_load(artifact, device)


@mutant("contract/artifact/damage_is_no_crash")
class CrashesOnDamage(Faithful):
    @hookimpl
    def deepseek_load(self, artifact: Artifact, device: str | None) -> Executable:
        try:
            return super().deepseek_load(artifact, device)
        except Exception as error:
            raise ValueError("bad magic") from error


@mutant("contract/artifact/wrong_target_refused")
class AcceptsWrongTarget(Faithful):
    @hookimpl
    def deepseek_load(self, artifact: Artifact, device: str | None) -> Executable:
        return super().deepseek_load(replace(artifact, target=Target("reference", "numpy")), device)


@mutant("contract/artifact/unknown_format_refused")
class AcceptsUnknownFormats(Faithful):
    @hookimpl
    def deepseek_load(self, artifact: Artifact, device: str | None) -> Executable:
        return super().deepseek_load(replace(artifact, format="onnx"), device)


@mutant("contract/artifact/round_trip")
class KeepsArtifactsInMemory(Faithful):
    def __init__(self) -> None:
        super().__init__()
        self.built: dict[int, Artifact] = {}

    @hookimpl
    def deepseek_compile(self, model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
        real = super().deepseek_compile(model, target, options)
        handle = replace(real, payload=b"handle", sha256="")
        self.built[id(handle)] = real
        return handle

    @hookimpl
    def deepseek_load(self, artifact: Artifact, device: str | None) -> Executable:
        return super().deepseek_load(self.built[id(artifact)], device)


@mutant("numerics/Conv/*/mixed")
class OneKernelIsWrong(Faithful):
    """The default is right; the kernel that measurement might choose elsewhere forgets the bias."""

    @hookimpl
    def deepseek_kernels(self, unit: Unit, target: Target) -> list[KernelCandidate]:
        cost = Cost.of(1e-3, Basis.ANALYTIC)
        return [KernelCandidate(name, cost, options={"kernel": name}) for name in ("plain", "fast")]

    @hookimpl
    def deepseek_compile(self, model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
        copy = model.clone()
        if options.extra.get("kernel") == "fast":
            for node in copy.graph:
                if node.op_type == "Conv" and len(node.inputs) > 2:
                    node.replace_input_with(2, None)
        return super().deepseek_compile(copy, target, replace(options, extra={}))
