"""Mutants that break the contract: claims, costs, artifacts, devices, threads."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deepseek_core import (
    Artifact,
    Availability,
    Backend,
    BackendInfo,
    Capabilities,
    CompileOptions,
    Cost,
    Executable,
    Expectations,
    Missing,
    QuantizedModel,
    Rounding,
    Target,
    Tolerance,
    Unit,
    hookimpl,
)
from deepseek_core.cost import Basis, KernelCandidate
from deepseek_core.expectations import KnownFailure
from deepseek_core.ir import TensorInfo
from deepseek_core.partition import derive_claims
from deepseek_core.placement import Claim
from deepseek_core.reference.numerics import Numerics, following
from deepseek_core.target import Tier

from .base import MUTANTS, TABLE, Arrays, Faithful, Mutant, Running, mutant
from .graphs import shift_zero

__all__: list[str] = []

Refuse = Callable[[Unit, str], None]


class Claiming(Faithful):
    """Claims what its table accepts, through the hook."""

    @hookimpl
    def deepseek_claim(self, model: QuantizedModel, target: Target, refuse: Refuse) -> Sequence[Claim] | None:
        claimed, refused = derive_claims(model, target, self.table)
        units = {unit.name: unit for unit in model.units()}
        for refusal in refused:
            refuse(units[refusal.unit], refusal.reason)
        return self.claims(claimed, model, target)

    def claims(self, claimed: list[Claim], model: QuantizedModel, target: Target) -> list[Claim]:
        return claimed


@mutant("contract/claims/*")
class RefusesWithoutReason(Faithful):
    @hookimpl
    def deepseek_claim(self, model: QuantizedModel, target: Target, refuse: Refuse) -> list[Claim]:
        claimed, _ = derive_claims(model, target, self.table)
        return claimed


@mutant("contract/claims/*")
class RefusesWithEmptyReason(Faithful):
    @hookimpl
    def deepseek_claim(self, model: QuantizedModel, target: Target, refuse: Refuse) -> list[Claim]:
        claimed, refused = derive_claims(model, target, self.table)
        units = {unit.name: unit for unit in model.units()}
        for refusal in refused:
            refuse(units[refusal.unit], " ")
        return claimed


@mutant("contract/claims/convex")
class ClaimsAroundOthers(Claiming):
    def claims(self, claimed: list[Claim], model: QuantizedModel, target: Target) -> list[Claim]:
        return [Claim(target, tuple(name for claim in claimed for name in claim.units))] if claimed else []


@mutant("contract/claims/unknown_op*")
class ClaimsUnknownOps(Faithful):
    @hookimpl
    def deepseek_claim(self, model: QuantizedModel, target: Target, refuse: Refuse) -> list[Claim]:
        return [Claim(target, (unit.name,)) for unit in model.units()]


@mutant("limits/*_outside")
class ClaimsBeyondItsLimits(ClaimsUnknownOps):
    pass


@mutant("numerics/Softmax/*")
class RefusesWhatItsTableDeclares(Claiming):
    @hookimpl
    def deepseek_claim(self, model: QuantizedModel, target: Target, refuse: Refuse) -> list[Claim]:
        kept = []
        for unit in model.units():
            if unit.op == "Softmax":
                refuse(unit, "Softmax is not my strong side")
            else:
                kept.append(Claim(target, (unit.name,)))
        return kept


@mutant("contract/claims/model_unchanged")
class ClaimingChangesTheModel(Claiming):
    def claims(self, claimed: list[Claim], model: QuantizedModel, target: Target) -> list[Claim]:
        model.graph.name = "mine"
        return claimed


@mutant("numerics/Add/*/mixed")
class DeclaresMoreThanItRuns(Faithful):
    @hookimpl
    def deepseek_compile(self, model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
        if any(node.op_type == "Add" for node in model.graph):
            raise NotImplementedError("Add")
        return super().deepseek_compile(model, target, options)


@mutant("contract/claims/unknown_op_not_compiled")
class CompilesAnything(Faithful):
    @hookimpl
    def deepseek_compile(self, model: QuantizedModel, target: Target, options: CompileOptions) -> Artifact:
        if any(node.domain for node in model.graph):
            return Artifact(target, b"what was that?", "onnx")
        return super().deepseek_compile(model, target, options)


@mutant("contract/claims/newer_opset_refused")
class IgnoresOpset(ClaimsUnknownOps):
    def __init__(self) -> None:
        super().__init__()
        self.table = replace(TABLE, max_opset=21)


@mutant("contract/claims/dynamic_shapes_refused")
class IgnoresDynamicShapes(ClaimsUnknownOps):
    def __init__(self) -> None:
        super().__init__()
        self.table = replace(TABLE, dynamic_shapes=False)


@mutant("control_flow/*")
class ClaimsUndeclaredControlFlow(ClaimsUnknownOps):
    def __init__(self) -> None:
        super().__init__()
        self.table = replace(TABLE, control_flow=False)


def _cost_without_check(seconds: float, bases: Mapping[Basis, float]) -> Cost:
    cost = object.__new__(Cost)
    for name, value in {"seconds": seconds, "bytes": 0, "bases": bases, "joules": None}.items():
        object.__setattr__(cost, name, value)
    return cost


class _Costing(Faithful):
    cost: Cost

    @hookimpl
    def deepseek_cost(self, units: Sequence[Unit], target: Target) -> Cost:
        return self.cost


@mutant("contract/backend/cost")
class CostIsNan(_Costing):
    cost = _cost_without_check(float("nan"), {Basis.ANALYTIC: float("nan")})


@mutant("contract/backend/cost")
class CostIsNegative(_Costing):
    cost = _cost_without_check(-1.0, {Basis.ANALYTIC: -1.0})


@mutant("contract/backend/cost")
class CostHasNoBasis(_Costing):
    cost = _cost_without_check(1.0, {})


@mutant("contract/backend/cost")
class CostBasesDoNotSumUp(_Costing):
    cost = _cost_without_check(1.0, {Basis.MEASURED: 0.5})


@mutant("contract/backend/kernels")
class KernelsShareAName(Faithful):
    @hookimpl
    def deepseek_kernels(self, unit: Unit, target: Target) -> list[KernelCandidate]:
        return [KernelCandidate("int8", Cost.of(1e-3, Basis.ANALYTIC))] * 2


@mutant("contract/backend/probe")
class ProbeRaises(Faithful):
    @hookimpl
    def deepseek_probe(self, target: Target) -> Availability:
        raise OSError("libvendor.so: cannot open shared object file")


@mutant("contract/backend/probe")
class ProbeGivesNoFix(Faithful):
    @hookimpl
    def deepseek_probe(self, target: Target) -> Availability:
        return replace(super().deepseek_probe(target), can_run=False, missing=(Missing("a driver", ""),))


@mutant("contract/backend/probe")
class ProbeHidesWhatIsMissing(Faithful):
    @hookimpl
    def deepseek_probe(self, target: Target) -> Availability:
        return replace(super().deepseek_probe(target), can_run=False)


@mutant("contract/backend/info")
class HasNoVersion(Faithful):
    @hookimpl
    def deepseek_backend(self) -> BackendInfo:
        return replace(super().deepseek_backend(), version="")


@mutant("contract/backend/capabilities")
class TableChanges(Faithful):
    def __init__(self) -> None:
        super().__init__()
        self.calls = itertools.count()

    @hookimpl
    def deepseek_capabilities(self, target: Target) -> Capabilities:
        return replace(self.table, launch=float(next(self.calls)))


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


class _Wrapping(Faithful):
    """Gives another executable than it opened."""

    wrapper: type[Running]

    def opened(self, executable: Executable, artifact: Artifact) -> Executable:
        return self.wrapper(executable)


def _executable(pattern: str) -> Callable[[type[Running]], type[Running]]:
    """Register a mutant by the executable it gives."""

    def add(wrapper: type[Running]) -> type[Running]:
        mutant(pattern)(type(wrapper.__name__, (_Wrapping,), {"wrapper": wrapper}))
        return wrapper

    return add


@_executable("contract/device/device")
class RunsElsewhere(Running):
    """The silent CPU fallback: the runtime says where it ran, nobody looked."""

    device = "CPUExecutionProvider"  # type: ignore[assignment]


@_executable("contract/device/tier")
class UpgradesItsTier(Running):
    tier = Tier.DEVICE  # type: ignore[assignment]


@_executable("contract/device/*")
class FallsBackWhileRunning(Running):
    ran = False

    @property
    def device(self) -> str:
        return "CPUExecutionProvider" if self.ran else "numpy"

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        self.ran = True
        return super().run(feeds)


@mutant("contract/device/unknown_device_refused")
class FallsBackFromUnknownDevice(Faithful):
    @hookimpl
    def deepseek_load(self, artifact: Artifact, device: str | None) -> Executable:
        return super().deepseek_load(artifact, None)


@mutant("contract/device/absent_device_refused")
class RunsWithoutItsDevice(Faithful):
    @hookimpl
    def deepseek_probe(self, target: Target) -> Availability:
        missing = (Missing("an accelerator", "plug one in"),)
        return replace(super().deepseek_probe(target), can_run=False, missing=missing)


@mutant("contract/device/declared_numerics_shown")
class DeclaresNumericsOfAnotherDevice(Faithful):
    """What runs is the reference, though the device it stands for would round otherwise."""

    @hookimpl
    def deepseek_expectations(self, target: Target) -> Expectations:
        return Expectations(Tolerance(lsb=1), rounding=Rounding.HALF_AWAY)


@_executable("contract/run/deterministic")
class AddsNoise(Running):
    calls = 0

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        self.calls += 1
        return {name: array + array.dtype.type(self.calls % 2) for name, array in super().run(feeds).items()}


@_executable("contract/run/threads")
class SharesItsInputBuffer(Running):
    """One feed buffer for all threads."""

    def __init__(self, inner: Executable) -> None:
        super().__init__(inner)
        self.feeds: Arrays = {}

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        self.feeds = feeds
        threading.Event().wait(1e-4)
        return super().run(self.feeds)


@_executable("contract/run/feeds_unchanged")
class WritesIntoItsFeeds(Running):
    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        results = super().run(feeds)
        for array in feeds.values():
            if array.flags.writeable:
                array[...] = 0
        return results


@_executable("contract/run/read_only_feeds")
class NeedsWritableFeeds(Running):
    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        for array in feeds.values():
            array[...] = array.copy()
        return super().run(feeds)


@_executable("contract/run/strided_feeds")
class ReadsFeedsAsIfContiguous(Running):
    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        bases = {name: array if array.flags.c_contiguous else array.base for name, array in feeds.items()}
        flat = {
            name: np.ascontiguousarray(base).reshape(-1)[: feeds[name].size].reshape(feeds[name].shape)
            for name, base in bases.items()
        }
        return super().run(flat)


@_executable("contract/run/outputs_kept")
class ReusesItsOutputBuffers(Running):
    def __init__(self, inner: Executable) -> None:
        super().__init__(inner)
        self.buffers: dict[str, NDArray[Any]] = {}

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        for name, array in super().run(feeds).items():
            self.buffers.setdefault(name, array)[...] = array
        return dict(self.buffers)


@_executable("contract/run/close")
class ClosesOnce(Running):
    closed = False

    def close(self) -> None:
        if self.closed:
            raise RuntimeError("double free")
        self.closed = True


@_executable("contract/run/run_after_close")
class RunsOnFreedMemory(Running):
    closed = False

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        results = super().run(feeds)
        return {name: np.zeros_like(array) for name, array in results.items()} if self.closed else results

    def close(self) -> None:
        self.closed = True


@_executable("contract/run/two_executables")
class SharesOneContext(Running):
    closed = False

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        if SharesOneContext.closed:
            raise RuntimeError("context is destroyed")
        return super().run(feeds)

    def close(self) -> None:
        SharesOneContext.closed = True


@_executable("contract/run/interface")
class RenamesItsOutputs(Running):
    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return tuple(replace(info, name=f"{info.name}:0") for info in self.inner.outputs)


@_executable("numerics/Conv/*/mixed")
class GivesOtherOutputs(Running):
    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        return {f"{name}:0": array for name, array in super().run(feeds).items()}


@_executable("numerics/Conv/*/mixed")
class GivesReinterpretedCodes(Running):
    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        return {n: a.view(np.int8) if a.dtype == np.uint8 else a for n, a in super().run(feeds).items()}


@_executable("numerics/Conv/*/single_element")
class SqueezesItsOutputs(Running):
    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        return {name: np.squeeze(array) for name, array in super().run(feeds).items()}


@_executable("numerics/*/zero_batch")
class CrashesOnEmptyBatches(Running):
    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        if any(array.size == 0 for array in feeds.values()):
            raise ZeroDivisionError("division by zero")
        return super().run(feeds)


@_executable("numerics/*/dynamic_batch")
class KeepsTheFirstBatchSize(Running):
    size: int | None = None

    def run(self, feeds: Arrays) -> dict[str, NDArray[Any]]:
        first = next(iter(feeds.values()))
        self.size = self.size or len(first)
        return super().run({name: array[: self.size] for name, array in feeds.items()})


class _Crossing(Faithful):
    def __init__(self) -> None:
        super().__init__()
        self.table = replace(TABLE, formats=("image",))

    def image(self, model: QuantizedModel, target: Target, format: str) -> Artifact | None:
        return Artifact(target, model.digest().encode(), "image") if format == "image" else None

    @hookimpl
    def deepseek_cross_compile(
        self, model: QuantizedModel, target: Target, format: str, options: CompileOptions
    ) -> Artifact | None:
        return self.image(model, target, format)


@mutant("contract/cross_compile/unknown_format_refused")
class CrossCompilesToAnything(_Crossing):
    def image(self, model: QuantizedModel, target: Target, format: str) -> Artifact | None:
        return Artifact(target, b"image", format)


@mutant("contract/cross_compile/formats")
class CrossCompilesToAnotherFormat(_Crossing):
    def image(self, model: QuantizedModel, target: Target, format: str) -> Artifact | None:
        return Artifact(target, b"image", "elf") if format == "image" else None


@mutant("contract/cross_compile/formats")
class CrossCompilesToNothing(_Crossing):
    def image(self, model: QuantizedModel, target: Target, format: str) -> Artifact | None:
        return None


@mutant("contract/cross_compile/formats")
class HidesItsFormats(_Crossing):
    def __init__(self) -> None:
        super().__init__()
        self.table = TABLE


class _Expecting(Faithful):
    expected: Expectations

    @hookimpl
    def deepseek_expectations(self, target: Target) -> Expectations:
        return self.expected


@mutant("contract/backend/info")
class DeclaresAStaleFailure(_Expecting):
    expected = Expectations(known_failures=(KnownFailure("numerics/Convolution/*", "no such op"),))


@mutant("contract/backend/info")
class DeclaresAFailureWithoutReason(_Expecting):
    expected = Expectations(known_failures=(KnownFailure("numerics/Conv/*/mixed", ""),))


@mutant("numerics/Conv/*/mixed")
class DeclaresAFailureThatPasses(_Expecting):
    expected = Expectations(known_failures=(KnownFailure("numerics/Conv/*/mixed", "was wrong once"),))


@mutant("numerics/*/rounding_ties")
class RoundsOtherwiseThanDeclared(_Expecting):
    """Half up is not half away, though both leave ties to even."""

    expected = Expectations(rounding=Rounding.HALF_AWAY)

    def numerics(self) -> AbstractContextManager[object]:
        return following(Numerics(Rounding.HALF_UP))


@mutant("numerics/Conv/*/mixed")
class DiffersOnMoreThanDeclared(_Expecting):
    """One code off everywhere; declared is one code off on a tenth."""

    expected = Expectations(Tolerance(lsb=1, fraction=0.1))

    def edit(self, model: ir.Model) -> None:
        shift_zero("output", 1)(model)
